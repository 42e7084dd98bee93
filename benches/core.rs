//! The core alone, rows already text: what is left of a time in Python is the binding's.
#![allow(clippy::unwrap_used, reason = "a benchmark fails by panicking")]

use std::time::Instant;

use orchestrator_state_store::{Caller, NewItems, NewRun, Options, Store, Synchronous, now};

const ITEMS: usize = 10_000;
const ROUNDS: usize = 7;

fn item(items: &mut NewItems, item_id: &str, title: &str) {
    let body = "The package allows an attacker to do what only its owner may. ".repeat(5);
    for text in [item_id, "run", "advisory", title, &body] {
        items.push(text).unwrap();
    }
    for json in [r#"[{"text":"something is claimed, and here is what it is","confidence":0.75}]"#; 5] {
        items.push(json).unwrap();
    }
    items.push("monitor").unwrap();
    items.push_null().unwrap();
}

fn batch(title: &str) -> NewItems {
    let mut items = NewItems::new();
    (0..ITEMS).for_each(|number| item(&mut items, &format!("run/PYSEC-2026-{number}"), title));
    items
}

fn millis(work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    work();
    start.elapsed().as_secs_f64() * 1e3
}

fn singles(store: &Store, prefix: &str, count: usize) -> f64 {
    let rows: Vec<_> = (0..count)
        .map(|number| {
            let mut items = NewItems::new();
            item(&mut items, &format!("{prefix}-{number}"), "single");
            items
        })
        .collect();
    millis(|| rows.into_iter().for_each(|row| store.upsert_intel_item(&Caller::thread(), row).unwrap())) * 1e3
        / count as f64
}

fn open(folder: &tempfile::TempDir, synchronous: Synchronous) -> Store {
    let options = Options { synchronous, ..Options::default() };
    let store = Store::open(&folder.path().join("store.db"), options, &Caller::thread()).unwrap();
    let settings_snapshot_json = b"{}".to_vec();
    let run =
        NewRun { run_id: "run".into(), run_type: "bench".into(), started_at: now(), settings_snapshot_json };
    store.start_run(&Caller::thread(), run).unwrap();
    store
}

fn round(synchronous: Synchronous) -> [f64; 5] {
    let (folder, other) = (tempfile::tempdir_in(".").unwrap(), tempfile::tempdir_in(".").unwrap());
    let store = open(&folder, synchronous);
    let me = Caller::thread();
    let [first, again, changed] = ["first", "first", "changed"].map(batch);
    let batches =
        [first, again, changed].map(|items| millis(|| store.upsert_intel_items_batch(&me, items).unwrap()));
    let list = millis(|| drop(store.list_intel_items_for_run(&me, "run").unwrap()));
    drop(store);
    let store = open(&other, synchronous);
    singles(&store, "warm", 1_500);
    let single = singles(&store, "single", 3_000);
    [batches[0], batches[1], batches[2], list, single]
}

fn main() {
    for (name, synchronous) in [("FULL", Synchronous::Full), ("NORMAL", Synchronous::Normal)] {
        let rounds: Vec<_> = (0..ROUNDS).map(|_| round(synchronous)).collect();
        for (column, what) in
            ["batch, new (ms)", "batch, unchanged (ms)", "batch, changed (ms)", "list (ms)", "single (us)"]
                .iter()
                .enumerate()
        {
            let mut times: Vec<_> = rounds.iter().map(|round| round[column]).collect();
            times.sort_by(f64::total_cmp);
            println!("{name:7} {what:24} {:8.1}", times[ROUNDS / 2]);
        }
    }
}
