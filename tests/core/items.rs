//! Items: batches, lists and decisions.

use super::*;

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
