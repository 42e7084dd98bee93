//! The core driven from Rust, with no Python in the process.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod items;
mod runs;
mod transactions;
mod upkeep;

use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use orchestrator_state_store::{
    Caller, Condition, Decision, Deleted, ErrorKind, Fields, FindingKind, IfOver, ItemColumn, ItemFilter,
    ItemList, Items, NewDecision, NewItems, NewRun, Options, Order, OrderBy, Parameters, Prune, Result,
    RunColumn, RunEnd, RunFilter, Runs, Store, Telemetry, Test, now,
};

fn open(path: &Path) -> Store {
    Store::open(path, Options::default(), &Caller::thread()).unwrap()
}

fn run(run_id: &str) -> NewRun {
    NewRun {
        run_id: run_id.into(),
        run_type: "test".into(),
        started_at: now(),
        settings_snapshot_json: b"{}".to_vec(),
    }
}

fn items(run_id: &str, item_ids: &[&str], title: &str) -> NewItems {
    let mut items = NewItems::new();
    for item_id in item_ids {
        for text in [*item_id, run_id, "note", title, "summary", "[]", "[]", "{}", "[]", "[]"] {
            items.push(text).unwrap();
        }
        items.push_null().unwrap();
        items.push_null().unwrap();
    }
    items
}

fn titles(store: &Store, run_id: &str) -> Vec<String> {
    let found = store.list_intel_items_for_run(&Caller::thread(), run_id).unwrap();
    let rows = found.iter().flat_map(|items| (0..items.len()).map(move |row| (items, row)));
    rows.map(|(items, row)| String::from_utf8(items.get(row, ItemColumn::Title).unwrap().to_vec()).unwrap())
        .collect()
}

fn kind<T>(result: Result<T>) -> Option<ErrorKind> {
    result.err().map(|error| error.kind)
}

#[test]
fn what_was_written_is_there_after_reopening() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("deep/store.db");
    let me = Caller::thread();
    let store = open(&path);
    store.start_run(&me, run("r")).unwrap();
    store.upsert_intel_items_batch(&me, items("r", &["a", "b", "a"], "first")).unwrap();
    store.upsert_intel_item(&me, items("r", &["b"], "second")).unwrap();
    store
        .write_telemetry(&me, Telemetry { run_id: "r".into(), telemetry_json: b"1".to_vec(), force: false })
        .unwrap();
    store
        .finish_run(
            &me,
            RunEnd { run_id: "r".into(), status: "completed".into(), notes: None, if_over: IfOver::Replace },
        )
        .unwrap();
    drop(store);
    assert_eq!(titles(&open(&path), "r"), ["first", "second"]);
    let left: Vec<_> = std::fs::read_dir(path.parent().unwrap()).unwrap().collect();
    assert_eq!(left.len(), 1, "a clean close leaves neither -wal nor -shm");
}

#[test]
fn a_closed_store_says_so() {
    let store = Store::open_in_memory(Options::default()).unwrap();
    let me = Caller::thread();
    let transaction = store.begin(&me).unwrap();
    store.start_run(&me, run("r")).unwrap();
    store.close(&me).unwrap();
    store.close(&me).unwrap();
    assert_eq!(kind(transaction.commit()), Some(ErrorKind::StoreClosed));
    assert_eq!(kind(store.start_run(&me, run("r"))), Some(ErrorKind::StoreClosed));
    assert_eq!(kind(store.list_intel_items_for_run(&me, "r")), Some(ErrorKind::StoreClosed));
    assert_eq!(kind(store.begin(&me)), Some(ErrorKind::StoreClosed));
}

#[test]
fn what_is_no_store_is_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in [
        ("text", &b"this is no database at all, but long enough to be looked at".repeat(40)[..]),
        ("short", b"hello"),
    ] {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        let opened = Store::open(&path, Options::default(), &Caller::thread());
        assert_eq!(kind(opened), Some(ErrorKind::NotADatabase), "{name}");
        assert_eq!(std::fs::read(&path).unwrap(), bytes);
    }
    assert_eq!(
        kind(Store::open(folder.path(), Options::default(), &Caller::thread())),
        Some(ErrorKind::CannotOpen)
    );
    let below_a_file = folder.path().join("text/store.db");
    assert_eq!(
        kind(Store::open(&below_a_file, Options::default(), &Caller::thread())),
        Some(ErrorKind::CannotOpen)
    );
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
}

#[test]
fn a_store_that_is_only_read_refuses_writes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let me = Caller::thread();
    open(&path).start_run(&me, run("r")).unwrap();
    let options = Options { read_only: true, ..Options::default() };
    let store = Store::open(&path, options.clone(), &me).unwrap();
    assert_eq!(kind(store.start_run(&me, run("s"))), Some(ErrorKind::ReadOnly));
    assert_eq!(kind(store.begin(&me)), Some(ErrorKind::ReadOnly));
    let none = Parameters::Positional(Vec::new());
    assert_eq!(store.query(&me, "SELECT run_id FROM runs", &none).unwrap().rows.len(), 1);
    assert_eq!(kind(Store::open(&folder.path().join("absent"), options, &me)), Some(ErrorKind::CannotOpen));
}

#[test]
#[cfg(all(target_os = "linux", not(feature = "python")))]
fn no_python_is_in_the_process() {
    let mapped = std::fs::read_to_string("/proc/self/maps").unwrap();
    assert!(!mapped.contains("libpython"), "{mapped}");
}

#[test]
fn statements_are_traced_only_where_that_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let me = Caller::thread();
    for trace_sql in [false, true] {
        let options = Options { trace_sql, ..Options::default() };
        let path = folder.path().join(format!("{trace_sql}.db"));
        for store in
            [Store::open(&path, options.clone(), &me).unwrap(), Store::open_in_memory(options).unwrap()]
        {
            store.take_traced();
            store.start_run(&me, run("r")).unwrap();
            let traced = store.take_traced();
            let words = traced.statements.iter().filter_map(|each| each.sql.split_whitespace().next());
            let expected: &[&str] = if trace_sql { &["BEGIN", "INSERT", "COMMIT"] } else { &[] };
            assert_eq!(words.collect::<Vec<_>>(), expected);
            assert_eq!(traced.not_kept, 0);
            assert!(store.take_traced().statements.is_empty());
        }
    }
}
