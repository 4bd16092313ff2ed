//! Retention: whole beginnings of chains go, up to a signed checkpoint, and what is left can still be checked.

use super::export::{checked, exported};
use super::{NOW, Trail};
use procura::audit::prune::Pruned;
use procura::domain::event::ChainedEvent;
use procura::store::EventFilter;

async fn prune(trail: &Trail, before: i64) -> Pruned {
    trail.with_notary(NOW + 100, async |notary| notary.prune(before, "a test", (NOW + 100) * 1000).await.unwrap()).await
}

async fn count(trail: &Trail, writer: &str) -> i64 {
    trail.db.store.count_events_up_to(writer, i64::MAX).await.unwrap()
}

store_test! {
    async fn events_go_up_to_a_checkpoint_and_the_rest_is_whole(db: TestDatabase) {
        let trail = Trail::furnished(db.kind).await;
        let would_go = trail.with_notary(NOW, async |notary| notary.prunable(NOW + 21).await.unwrap()).await;
        assert_eq!(trail.report().await.events, 32, "asking changes nothing");
        let gone = prune(&trail, NOW + 21).await;
        assert_eq!(gone, would_go);
        let cuts: Vec<_> = gone.chains.iter().map(|cut| (cut.writer_id.as_str(), cut.seq, cut.events)).collect();
        assert_eq!((gone.checkpoint, gone.events), (2, 22));
        assert_eq!(cuts, [("admin", 1, 1), ("w_one", 12, 12), ("w_two", 9, 9)]);

        let report = trail.report().await;
        assert!(report.is_whole(), "{report:?}");
        // 10 that are left, and the event that says what went.
        assert_eq!((report.events, report.signed_events, report.checkpoints), (11, 11, 4));
        let pruned: Vec<_> =
            report.pruned.iter().map(|cut| (cut.writer_id.as_str(), cut.seq, cut.checkpoint, cut.left)).collect();
        assert_eq!(pruned, [("admin", 1, 1, 0), ("w_one", 12, 2, 0), ("w_two", 9, 2, 0)]);
        let filter = EventFilter { reason: Some("audit_pruned".to_owned()), limit: 10, ..EventFilter::default() };
        let events = trail.db.store.list_events(&filter).await.unwrap();
        let detail = events[0].detail.as_deref().unwrap();
        assert!(detail.contains("22 events") && detail.contains("w_one up to event 12 with hash "), "{detail}");
    }

    async fn a_second_time_nothing_goes_and_chains_go_on(db: TestDatabase) {
        let trail = Trail::furnished(db.kind).await;
        prune(&trail, NOW + 21).await;
        assert_eq!(prune(&trail, NOW + 21).await.events, 0);
        trail.events("w_one", 20..25).await;
        trail.checkpoint(NOW + 110).await;
        let report = trail.report().await;
        assert!(report.is_whole() && report.checkpoints == 5, "{report:?}");
        prune(&trail, NOW + 41).await;
        let report = trail.report().await;
        assert!(report.is_whole(), "{report:?}");
        assert_eq!(count(&trail, "w_two").await, 1);
    }

    async fn nothing_newer_than_a_checkpoint_of_that_time_goes(db: TestDatabase) {
        let trail = Trail::furnished(db.kind).await;
        let gone = prune(&trail, NOW + 10).await;
        assert_eq!((gone.checkpoint, gone.events, trail.report().await.checkpoints), (0, 0, 3));
        assert_eq!(prune(&trail, NOW + 11).await.checkpoint, 1);
        assert_eq!(count(&trail, "w_one").await, 7);
    }

    async fn what_is_left_of_a_removal_that_was_interrupted_is_whole_and_goes_the_next_time(db: TestDatabase) {
        let trail = Trail::furnished(db.kind).await;
        trail.db.execute("CREATE TABLE kept AS SELECT * FROM audit_event WHERE writer_id = 'w_one' AND seq BETWEEN 9 AND 12").await;
        prune(&trail, NOW + 21).await;
        trail.db.execute("INSERT INTO audit_event SELECT * FROM kept").await;
        let report = trail.report().await;
        assert!(report.is_whole(), "{report:?}");
        assert_eq!(report.pruned.iter().map(|cut| cut.left).collect::<Vec<_>>(), [0, 4, 0]);
        assert_eq!(prune(&trail, NOW + 21).await.events, 4);
        assert_eq!(count(&trail, "w_one").await, 2);
        assert!(trail.report().await.is_whole());
    }

    async fn events_that_went_otherwise_are_missed(db: TestDatabase) {
        let trail = Trail::furnished(db.kind).await;
        prune(&trail, NOW + 11).await;
        // A beginning up to a place that was signed, but whose removal was not.
        trail.db.execute("DELETE FROM audit_event WHERE writer_id = 'w_one' AND seq <= 12").await;
        let faults = trail.report().await.faults;
        assert_eq!((faults.len(), faults[0].writer_id.as_str(), faults[0].seq), (1, "w_one", 8), "{faults:?}");

        // And an event of the administrators that only says so changes nothing: it is not a signature.
        let head = trail.db.store.chain_head("admin").await.unwrap().unwrap();
        let mut forged = head.clone();
        let said = procura::domain::event::AuditEvent::new(
            NOW * 1000,
            "adm_x".to_owned(),
            procura::domain::event::EventKind::Administration,
            procura::domain::event::EventOutcome::Done,
            "audit_pruned",
        );
        trail.db.store.append_events(&[ChainedEvent::append(&mut forged, said)], &[]).await.unwrap();
        assert_eq!(trail.report().await.faults.len(), 1);
    }

    async fn what_is_put_before_a_cut_is_found(db: TestDatabase) {
        let trail = Trail::furnished(db.kind).await;
        trail.db.execute("CREATE TABLE kept AS SELECT * FROM audit_event WHERE writer_id = 'w_one'").await;
        prune(&trail, NOW + 21).await;
        for (seq, at) in [(5, 6), (1, 2), (8, 9)] {
            trail.db.execute(&format!("INSERT INTO audit_event SELECT * FROM kept WHERE seq = {seq}")).await;
            let faults = trail.report().await.faults;
            assert_eq!((faults.len(), faults[0].writer_id.as_str(), faults[0].seq), (1, "w_one", at), "{faults:?}");
            trail.db.execute(&format!("DELETE FROM audit_event WHERE writer_id = 'w_one' AND seq = {seq}")).await;
        }
        assert!(trail.report().await.is_whole());
    }

    async fn a_changed_event_before_the_cut_of_a_removal_that_was_interrupted_is_found(db: TestDatabase) {
        let trail = Trail::furnished(db.kind).await;
        trail.db.execute("CREATE TABLE kept AS SELECT * FROM audit_event WHERE writer_id = 'w_one' AND seq BETWEEN 9 AND 12").await;
        prune(&trail, NOW + 21).await;
        trail.db.execute("INSERT INTO audit_event SELECT * FROM kept").await;
        for change in ["prev_hash = hash", "hash = prev_hash", "body = body || ' '", "jti = 'x'"] {
            trail.db.execute(&format!("UPDATE audit_event SET {change} WHERE writer_id = 'w_one' AND seq = 9")).await;
            let faults = trail.report().await.faults;
            assert_eq!((faults.len(), faults[0].seq), (1, 9), "{change}: {faults:?}");
            trail.db.script("DELETE FROM audit_event WHERE writer_id = 'w_one' AND seq <= 12; INSERT INTO audit_event SELECT * FROM kept").await;
        }
    }

    async fn nothing_goes_from_a_trail_that_is_not_whole(db: TestDatabase) {
        let trail = Trail::furnished(db.kind).await;
        trail.db.execute("UPDATE audit_event SET jti = 'x' WHERE writer_id = 'w_one' AND seq = 3").await;
        let refused = trail
            .with_notary(NOW + 100, async |notary| notary.prune(NOW + 21, "a test", NOW * 1000).await)
            .await
            .unwrap_err()
            .to_string();
        assert!(refused.starts_with("chain w_one event 3: changed: its column jti"), "{refused}");
        assert_eq!(count(&trail, "w_one").await, 14);

        // Nor is a chain that somebody deleted whole passed off as one that was kept long enough.
        let other = Trail::furnished(db.kind).await;
        other.db.execute("DELETE FROM audit_event WHERE writer_id = 'w_one'").await;
        let refused = other
            .with_notary(NOW + 100, async |notary| notary.prune(NOW + 21, "a test", NOW * 1000).await)
            .await
            .unwrap_err()
            .to_string();
        assert!(refused.starts_with("chain w_one event 1: missing"), "{refused}");
    }

    async fn what_goes_while_it_is_read_is_no_fault(db: TestDatabase) {
        let trail = Trail::new(db.kind).await;
        for hundred in 0..80 {
            trail.events("w_one", hundred * 100..hundred * 100 + 100).await;
        }
        trail.checkpoint(NOW + 10).await;
        trail.events("w_one", 9_000..9_010).await;
        // It is signed that they may go, and they go while the chain is read: faster than it is.
        trail.with_notary(NOW + 20, async |notary| notary.make(NOW + 20, Some(1)).await.unwrap()).await;
        let going = async {
            while trail.db.store.remove_events_up_to("w_one", 8_000, 600).await.unwrap() == 600 {}
        };
        let (report, ()) = tokio::join!(trail.report(), going);
        assert!(report.is_whole(), "{report:?}");
        assert_eq!((count(&trail, "w_one").await, trail.report().await.is_whole()), (10, true));
    }

    async fn an_export_has_what_is_left(db: TestDatabase) {
        let trail = Trail::furnished(db.kind).await;
        prune(&trail, NOW + 21).await;
        let file = exported(&trail, &EventFilter::default()).await;
        assert_eq!(checked(&file).unwrap().events, 11);
    }
}
