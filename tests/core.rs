//! The core driven from Rust, with no Python in the process.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

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
fn a_batch_with_an_error_writes_nothing_and_names_the_item() {
    let store = Store::open_in_memory(Options::default()).unwrap();
    let me = Caller::thread();
    store.start_run(&me, run("r")).unwrap();
    let mut batch = items("r", &["a", "b"], "t");
    for cell in ["c", "nowhere", "note", "t", "s", "[]", "[]", "{}", "[]", "[]", "x", "y"] {
        batch.push(cell).unwrap();
    }
    let error = store.upsert_intel_items_batch(&me, batch).unwrap_err();
    assert_eq!(error.kind, ErrorKind::RunNotFound);
    assert!(error.to_string().starts_with("upsert_intel_items_batch: item 2 (\"c\"): "), "{error}");
    assert_eq!(titles(&store, "r"), [""; 0]);
}

#[test]
fn a_call_that_fails_inside_a_transaction_undoes_itself_alone() {
    let store = Store::open_in_memory(Options::default()).unwrap();
    let me = Caller::thread();
    let outer = store.begin(&me).unwrap();
    store.start_run(&me, run("r")).unwrap();
    assert_eq!(kind(store.start_run(&me, run("r"))), Some(ErrorKind::RunExists));
    assert_eq!(
        kind(store.upsert_intel_item(&me, items("nowhere", &["x"], "t"))),
        Some(ErrorKind::RunNotFound)
    );
    let inner = store.begin(&me).unwrap();
    store.upsert_intel_item(&me, items("r", &["inner"], "inner")).unwrap();
    drop(inner);
    store.upsert_intel_item(&me, items("r", &["outer"], "outer")).unwrap();
    assert_eq!(titles(&store, "r"), ["outer"], "the owner sees its own writes");
    outer.commit().unwrap();
    assert_eq!(titles(&store, "r"), ["outer"]);
}

#[test]
fn a_run_without_a_sign_of_life_is_recovered_and_finished_by_force_alone() {
    let store = Store::open_in_memory(Options::default()).unwrap();
    let me = Caller::thread();
    store.start_run(&me, run("r")).unwrap();
    store.heartbeat(&me, "r").unwrap();
    assert!(store.recover_stale_runs(&me, Duration::from_secs(60), "crashed", false).unwrap().is_empty());
    let transaction = store.begin(&me).unwrap();
    let refused = store.recover_stale_runs(&me, Duration::ZERO, "crashed", false);
    assert_eq!(kind(refused.map(drop)), Some(ErrorKind::Transaction));
    transaction.roll_back().unwrap();
    let refused = store.recover_stale_runs(&me, Duration::ZERO, "running", false);
    assert_eq!(kind(refused.map(drop)), Some(ErrorKind::InvalidValue));
    let recovered = store.recover_stale_runs(&me, Duration::ZERO, "crashed", false).unwrap();
    assert_eq!((recovered.len(), recovered.get(0, RunColumn::Status)), (1, Some(&b"crashed"[..])));
    let end = |if_over| RunEnd { run_id: "r".into(), status: "completed".into(), notes: None, if_over };
    for if_over in [IfOver::Replace, IfOver::Keep] {
        assert_eq!(kind(store.finish_run(&me, end(if_over))), Some(ErrorKind::RunFinished));
    }
    assert_eq!(kind(store.heartbeat(&me, "r")), Some(ErrorKind::RunFinished));
    store.finish_run(&me, end(IfOver::Force)).unwrap();
    let late = RunEnd { status: "late".into(), ..end(IfOver::Keep) };
    assert_eq!(kind(store.finish_run(&me, late.clone())), Some(ErrorKind::RunFinished));
    assert_eq!(store.get_run(&me, "r").unwrap().get(0, RunColumn::Status), Some(&b"completed"[..]));
    store.reopen_run(&me, "r").unwrap();
    store.heartbeat(&me, "r").unwrap();
    store.finish_run(&me, end(IfOver::Replace)).unwrap();
    store.finish_run(&me, late).unwrap();
    let goes_on = RunEnd { status: "running".into(), ..end(IfOver::Force) };
    assert_eq!(kind(store.finish_run(&me, goes_on)), Some(ErrorKind::InvalidValue));
    assert_eq!(store.get_run(&me, "r").unwrap().get(0, RunColumn::Status), Some(&b"completed"[..]));
    assert_eq!(kind(store.reopen_run(&me, "r")), Some(ErrorKind::RunFinished));
    assert_eq!(kind(store.reopen_run(&me, "nowhere")), Some(ErrorKind::RunNotFound));
}

#[test]
fn a_run_that_was_recovered_takes_no_writes_until_it_is_reopened() {
    let store = Store::open_in_memory(Options::default()).unwrap();
    let me = Caller::thread();
    let telemetry = |force| Telemetry { run_id: "r".into(), telemetry_json: b"1".to_vec(), force };
    store.start_run(&me, run("r")).unwrap();
    store.upsert_intel_item(&me, items("r", &["a"], "first")).unwrap();
    store.recover_stale_runs(&me, Duration::ZERO, "crashed", false).unwrap();
    store.start_run(&me, run("s")).unwrap();
    let mut mixed = items("s", &["a", "b"], "second");
    for cell in ["c", "r", "note", "t", "s", "[]", "[]", "{}", "[]", "[]", "x", "y"] {
        mixed.push(cell).unwrap();
    }
    let error = store.upsert_intel_items_batch(&me, mixed).unwrap_err();
    assert_eq!(error.kind, ErrorKind::RunFinished);
    assert!(error.to_string().starts_with("upsert_intel_items_batch: item 2 (\"c\"): "), "{error}");
    let refused = store.upsert_intel_item(&me, items("r", &["a"], "second"));
    assert_eq!(kind(refused), Some(ErrorKind::RunFinished));
    assert_eq!(kind(store.write_telemetry(&me, telemetry(false))), Some(ErrorKind::RunFinished));
    assert_eq!(titles(&store, "r"), ["first"]);
    store.write_telemetry(&me, telemetry(true)).unwrap();
    store.upsert_intel_item(&me, items("s", &["a"], "third")).unwrap();
    assert_eq!(titles(&store, "r"), ["third"]);
    store.reopen_run(&me, "r").unwrap();
    store.upsert_intel_item(&me, items("r", &["a"], "fourth")).unwrap();
    store.write_telemetry(&me, telemetry(false)).unwrap();
    assert_eq!(titles(&store, "r"), ["fourth"]);
}

#[test]
fn a_thread_beats_for_active_runs_until_the_store_is_closed() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder.path().join("store.db"));
    let me = Caller::thread();
    let heartbeat = || store.get_run(&me, "r").unwrap().get(0, RunColumn::HeartbeatAt).map(<[u8]>::to_vec);
    store.start_run(&me, run("r")).unwrap();
    store.begin_heartbeats("r").unwrap();
    let started = Instant::now();
    while heartbeat().is_none() {
        assert!(started.elapsed() < Duration::from_secs(60));
        std::thread::yield_now();
    }
    store.end_heartbeats("r");
    store.begin_heartbeats("r").unwrap();
    store.close(&me).unwrap();
    store.end_heartbeats("r");
    assert_eq!(kind(store.begin_heartbeats("r")), Some(ErrorKind::StoreClosed));
}

#[test]
fn leaving_transactions_in_the_wrong_order_rolls_back() {
    let store = Store::open_in_memory(Options::default()).unwrap();
    let me = Caller::thread();
    let outer = store.begin(&me).unwrap();
    store.start_run(&me, run("r")).unwrap();
    let inner = store.begin(&me).unwrap();
    assert_eq!(kind(outer.commit()), Some(ErrorKind::Transaction));
    assert_eq!(kind(inner.commit()), Some(ErrorKind::Transaction));
    assert_eq!(
        kind(store.finish_run(
            &me,
            RunEnd { run_id: "r".into(), status: "x".into(), notes: None, if_over: IfOver::Replace }
        )),
        Some(ErrorKind::RunNotFound)
    );
}

#[test]
fn threads_outside_a_transaction_neither_join_it_nor_see_it() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options { busy_timeout: Duration::from_millis(50), ..Options::default() };
    let store = Store::open(&folder.path().join("store.db"), options, &Caller::thread()).unwrap();
    let me = Caller::thread();
    let transaction = store.begin(&me).unwrap();
    store.start_run(&me, run("r")).unwrap();
    store.upsert_intel_item(&me, items("r", &["a"], "t")).unwrap();
    std::thread::scope(|scope| {
        scope
            .spawn(|| {
                assert_eq!(titles(&store, "r"), [""; 0]);
                assert_eq!(
                    kind(store.start_run(&Caller::thread(), run("other"))),
                    Some(ErrorKind::StoreBusy)
                );
            })
            .join()
            .unwrap();
    });
    transaction.commit().unwrap();
    assert_eq!(titles(&store, "r"), ["t"]);
}

#[test]
fn writes_that_share_a_commit_fail_alone() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder.path().join("store.db"));
    store.start_run(&Caller::thread(), run("recovered")).unwrap();
    store.recover_stale_runs(&Caller::thread(), Duration::ZERO, "crashed", false).unwrap();
    store.start_run(&Caller::thread(), run("r")).unwrap();
    let barrier = Arc::new(Barrier::new(8));
    std::thread::scope(|scope| {
        for number in 0..8 {
            let (store, barrier) = (&store, Arc::clone(&barrier));
            scope.spawn(move || {
                barrier.wait();
                for turn in 0..50 {
                    let id = format!("{number}-{turn}");
                    let run_id = ["nowhere", "r", "recovered", "r", "r"][turn % 5];
                    let written = store.upsert_intel_items_batch(
                        &Caller::thread(),
                        items(run_id, &[id.as_str(), &format!("{id}-2")], "t"),
                    );
                    assert_eq!(written.is_ok(), run_id == "r");
                }
            });
        }
    });
    assert_eq!(titles(&store, "r").len(), 8 * 30 * 2);
    assert_eq!(titles(&store, "recovered"), [""; 0]);
}

#[test]
fn a_backup_is_whole_or_not_there() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder.path().join("state.db"));
    let dest = folder.path().join("copy.db");
    store.start_run(&Caller::thread(), run("run-1")).unwrap();
    store.upsert_intel_items_batch(&Caller::thread(), items("run-1", &["a", "b"], "first")).unwrap();
    let stop = store.backup(&Caller::thread(), &dest, false, &mut |_| {
        Err(orchestrator_state_store::StoreError::new(ErrorKind::Interrupted, "enough"))
    });
    assert_eq!(kind(stop), Some(ErrorKind::Interrupted));
    assert!(!dest.exists());
    let mut last = None;
    let progress = &mut |progress| {
        last = Some(progress);
        Ok(())
    };
    store.backup(&Caller::thread(), &dest, false, progress).unwrap();
    assert!(last.is_some_and(|progress| progress.copied == progress.total));
    assert_eq!(titles(&open(&dest), "run-1"), titles(&store, "run-1"));
    assert_eq!(
        kind(store.backup(&Caller::thread(), &dest, false, &mut |_| Ok(()))),
        Some(ErrorKind::CannotOpen)
    );
}

#[test]
fn runs_are_read_in_pages_the_newest_first() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder.path().join("store.db"));
    let me = Caller::thread();
    for (run_id, status) in [("a", "completed"), ("b", "failed"), ("c", "completed"), ("d", "partial")] {
        store.start_run(&me, run(run_id)).unwrap();
        let end = RunEnd {
            run_id: run_id.into(),
            status: status.into(),
            notes: Some("n".into()),
            if_over: IfOver::Replace,
        };
        store.finish_run(&me, end).unwrap();
    }
    let ids = |runs: &Runs| -> Vec<_> {
        (0..runs.len())
            .map(|row| String::from_utf8(runs.get(row, RunColumn::RunId).unwrap().to_vec()).unwrap())
            .collect()
    };
    let ended =
        RunFilter { statuses: Some(vec!["completed".into(), "failed".into()]), ..RunFilter::default() };
    let two = NonZeroUsize::new(2);
    let (page, next) = store.list_runs(&me, &ended, Order::Newest, two, None).unwrap();
    assert_eq!(ids(&page), ["c", "b"]);
    let (rest, end) = store.list_runs(&me, &ended, Order::Newest, two, next.as_deref()).unwrap();
    assert_eq!((ids(&rest), end), (vec!["a".to_owned()], None));
    assert_eq!(store.count_runs(&me, &ended).unwrap(), 3);
    let all = RunFilter::default();
    assert_eq!(
        kind(store.list_runs(&me, &all, Order::Newest, two, next.as_deref())),
        Some(ErrorKind::InvalidValue)
    );
    assert_eq!(ids(&store.list_runs(&me, &all, Order::Newest, None, None).unwrap().0), ["d", "c", "b", "a"]);
    let found = store.get_run(&me, "b").unwrap();
    assert_eq!(found.get(0, RunColumn::Notes), Some(&b"n"[..]));
    assert!(store.get_run(&me, "x").unwrap().is_empty());
    store
        .write_telemetry(&me, Telemetry { run_id: "a".into(), telemetry_json: b"1".to_vec(), force: false })
        .unwrap();
    assert_eq!(store.get_telemetry(&me, "a").unwrap(), Some(b"1".to_vec()));
    assert_eq!(store.get_telemetry(&me, "b").unwrap(), None);
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
fn runs_are_deleted_with_all_that_belongs_to_them() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder.path().join("store.db"));
    let me = Caller::thread();
    for (run_id, item) in [("a", "a-1"), ("b", "b-1"), ("c", "c-1")] {
        store.start_run(&me, run(run_id)).unwrap();
        store.upsert_intel_item(&me, items(run_id, &[item], "t")).unwrap();
        store
            .write_telemetry(
                &me,
                Telemetry { run_id: run_id.into(), telemetry_json: b"1".to_vec(), force: false },
            )
            .unwrap();
    }
    let one = Deleted { runs: 1, intel_items: 1, telemetry: 1 };
    assert_eq!(kind(store.delete_run(&me, "a", false)), Some(ErrorKind::RunActive));
    assert_eq!(store.delete_run(&me, "a", true).unwrap(), one);
    assert_eq!(kind(store.delete_run(&me, "a", true)), Some(ErrorKind::RunNotFound));
    store
        .finish_run(
            &me,
            RunEnd { run_id: "b".into(), status: "completed".into(), notes: None, if_over: IfOver::Replace },
        )
        .unwrap();
    assert_eq!(kind(store.prune(&me, &Prune::default(), false)), Some(ErrorKind::InvalidValue));
    let prune = Prune { keep_last: Some(0), ..Prune::default() };
    assert_eq!(store.prune(&me, &prune, true).unwrap(), one);
    assert_eq!(store.prune(&me, &prune, false).unwrap(), one);
    assert_eq!(titles(&store, "c"), ["t"]);
}

#[test]
fn the_file_is_looked_after() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let store = open(&path);
    let me = Caller::thread();
    store.start_run(&me, run("r")).unwrap();
    let big = "x".repeat(1_000_000);
    store.upsert_intel_item(&me, items("r", &["a"], &big)).unwrap();
    let stats = store.stats(&me).unwrap();
    assert_eq!((stats.runs_by_status, stats.intel_items), (vec![("running".to_owned(), 1)], 1));
    assert_eq!((stats.commits, stats.free_bytes), (2, 0));
    store.delete_run(&me, "r", true).unwrap();
    let done = store.vacuum(&me, false).unwrap();
    assert!(done.bytes_freed > 900_000 && done.reason.is_none(), "{done:?}");
    store.start_run(&me, run("s")).unwrap();
    let done = store.checkpoint(&me).unwrap();
    assert!(done.complete && done.wal_bytes_before > 0 && done.wal_bytes_after == 0, "{done:?}");
    let no_json = |text: &[u8]| Ok(Some(String::from_utf8_lossy(text).into_owned()));
    let found = store.check(&me, Duration::from_secs(3600), &no_json).unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].kind, found[0].id.as_deref()), (FindingKind::Json, Some("s")));
    let stale = store.check(&me, Duration::ZERO, &|_| Ok(None)).unwrap();
    assert_eq!(stale[0].kind, FindingKind::StaleRun);
    let inside = store.begin(&me).unwrap();
    assert_eq!(kind(store.vacuum(&me, false)), Some(ErrorKind::Transaction));
    assert_eq!(kind(store.checkpoint(&me)), Some(ErrorKind::Transaction));
    inside.roll_back().unwrap();
}

#[test]
#[cfg(all(target_os = "linux", not(feature = "python")))]
fn no_python_is_in_the_process() {
    let mapped = std::fs::read_to_string("/proc/self/maps").unwrap();
    assert!(!mapped.contains("libpython"), "{mapped}");
}

#[test]
fn items_are_listed_by_what_is_inside_of_them_and_decided_on() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder.path().join("store.db"));
    let me = Caller::thread();
    store.start_run(&me, run("r")).unwrap();
    store.upsert_intel_items_batch(&me, items("r", &["a", "b", "c"], "t")).unwrap();
    assert_eq!(store.get_intel_item(&me, "b").unwrap().get(0, ItemColumn::ItemId), Some(&b"b"[..]));
    assert!(store.get_intel_item(&me, "d").unwrap().is_empty());

    let decide = |item_id: &str, decision: &str| NewDecision {
        item_id: item_id.into(),
        decision: Some(decision.into()),
        reason: None,
    };
    store.decide(&me, decide("b", "promote")).unwrap();
    let unknown = store.decide_batch(&me, vec![decide("a", "block"), decide("d", "block")]);
    assert_eq!(kind(unknown), Some(ErrorKind::IntelItemNotFound));
    let filter = |decision| ItemFilter { decision: Some(decision), ..Default::default() };
    assert_eq!(store.count_intel_items(&me, &filter(Decision::Undecided)).unwrap(), 2);
    assert_eq!(store.count_intel_items(&me, &filter(Decision::Is("promote".into()))).unwrap(), 1);

    let condition = Condition::new(b"scores_json.a", Test::Exists(false)).unwrap();
    let (undecided, all) = (
        ItemFilter { conditions: vec![condition].into(), ..filter(Decision::Undecided) },
        ItemFilter::default(),
    );
    let by = OrderBy::new(b"scores_json.a").unwrap();
    let mut list = ItemList {
        name: "list_intel_items".into(),
        filter: &undecided,
        fields: Fields::default().with(ItemColumn::ItemId),
        order_by: None,
        order: Order::Oldest,
        limit: NonZeroUsize::new(1),
        cursor: None,
    };
    let (first, cursor) = store.list_intel_items(&me, &list).unwrap();
    assert_eq!(
        (first[0].len(), first[0].get(0, ItemColumn::ItemId), first[0].get(0, ItemColumn::Title)),
        (1, Some(&b"a"[..]), None)
    );
    list.cursor = cursor;
    let (second, cursor) = store.list_intel_items(&me, &list).unwrap();
    assert_eq!((second[0].get(0, ItemColumn::ItemId), cursor), (Some(&b"c"[..]), None));
    list.filter = &all;
    assert_eq!(kind(store.list_intel_items(&me, &list).map(drop)), Some(ErrorKind::InvalidValue));

    list.cursor = None;
    list.order_by = Some(&by);
    let (best, _) = store.list_intel_items(&me, &list).unwrap();
    let ranking = store.rank_intel_items(&me, list.filter, &by, list.order, None, NonZeroUsize::MAX).unwrap();
    assert_eq!((ranking.len(), ranking.is_more()), (3, false));
    let ranked =
        store.read_ranked_intel_items(&me, list.filter, list.fields, list.order, &ranking, 0..1).unwrap();
    assert_eq!(ranked[0].get(0, ItemColumn::ItemId), best[0].get(0, ItemColumn::ItemId));
    let rest =
        store.rank_intel_items(&me, list.filter, &by, list.order, Some(&ranking), NonZeroUsize::MAX).unwrap();
    assert!(rest.is_empty());
}

#[test]
fn a_long_list_is_taken_while_it_is_read_until_no_more_is_wanted() {
    const COUNT: usize = 5000;
    let folder = tempfile::tempdir().unwrap();
    let me = Caller::thread();
    let store = open(&folder.path().join("store.db"));
    store.start_run(&me, run("r")).unwrap();
    let ids: Vec<_> = (0..COUNT).map(|number| number.to_string()).collect();
    let ids: Vec<_> = ids.iter().map(String::as_str).collect();
    store.upsert_intel_items_batch(&me, items("r", &ids, "t")).unwrap();
    let filter = ItemFilter::of_run("r");
    let list = ItemList {
        name: "list_intel_items".into(),
        filter: &filter,
        fields: Fields::ALL,
        order_by: None,
        order: Order::Oldest,
        limit: None,
        cursor: None,
    };
    let taken = |goes_on: bool| {
        let mut taken = Vec::new();
        let done = store.list_intel_items_in_parts(&me, &list, &mut |parts| {
            taken.push(parts.iter().flatten().map(Items::len).sum::<usize>());
            goes_on
        });
        (taken, done)
    };
    let is_taken_meanwhile = |_| {
        let (taken, done) = taken(true);
        assert_eq!((taken.iter().sum::<usize>(), done.unwrap()), (COUNT, None));
        taken.iter().filter(|rows| **rows > 0).count() > 1
    };
    assert!((0..100).any(is_taken_meanwhile));
    let ends_early = |_| kind(taken(false).1) == Some(ErrorKind::Interrupted);
    assert!((0..100).any(ends_early));
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
