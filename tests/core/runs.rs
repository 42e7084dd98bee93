//! Runs: recovery, heartbeats, lists and deletion.

use super::*;

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
