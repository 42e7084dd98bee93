//! Transactions, and writes that share a commit.

use super::*;

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
