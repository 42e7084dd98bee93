//! Backups and maintenance.

use super::*;

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
