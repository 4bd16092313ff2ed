//! Checks every chain: places, links, hashes, and that the columns say what the body says.

use crate::domain::event::{AuditEvent, ChainHead, ChainedEvent};
use crate::store::{Store, StoreError, StoredEvent};
use serde::Serialize;

/// How many events are in memory at once.
const PAGE: i64 = 500;

/// What is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ChainFault {
    /// Whose chain.
    pub writer_id: String,
    /// The place.
    pub seq: i64,
    /// In words.
    pub problem: String,
}

/// How far a chain was found whole. Kept outside the database, it shows later that nothing up to here was replaced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CheckedChain {
    /// Whose chain.
    pub writer_id: String,
    /// The last whole event; 0 if there is none.
    pub seq: i64,
    /// Its hash, in hex.
    pub hash: String,
}

/// The result of a check.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ChainReport {
    /// How many events were read.
    pub events: u64,
    /// Every chain.
    pub chains: Vec<CheckedChain>,
    /// What is wrong; the first fault of each chain.
    pub faults: Vec<ChainFault>,
}

/// Reads every chain from its first event. Servers may go on writing meanwhile.
pub async fn verify(store: &Store) -> Result<ChainReport, StoreError> {
    let mut report = ChainReport::default();
    let headless = store.chains_without_head().await?;
    for head in store.chain_heads().await?.into_iter().chain(headless.into_iter().map(ChainHead::empty)) {
        let mut chain = Chain { last: ChainHead::empty(&head.writer_id), events: 0 };
        if let Some(problem) = chain.first_fault(store, &head).await? {
            let seq = chain.last.seq.saturating_add(1);
            report.faults.push(ChainFault { writer_id: head.writer_id, seq, problem });
        }
        report.events = report.events.saturating_add(chain.events);
        let ChainHead { writer_id, seq, hash } = chain.last;
        report.chains.push(CheckedChain { writer_id, seq, hash });
    }
    Ok(report)
}

/// A chain, as far as it was read.
struct Chain {
    /// The last event that is whole.
    last: ChainHead,
    events: u64,
}

impl Chain {
    /// What is wrong with the first event that is not whole.
    async fn first_fault(&mut self, store: &Store, head: &ChainHead) -> Result<Option<String>, StoreError> {
        loop {
            let page = store.read_chain(&head.writer_id, self.last.seq, PAGE).await?;
            if page.is_empty() {
                break;
            }
            for stored in page {
                self.events = self.events.saturating_add(1);
                if let Err(problem) = follows(&self.last, &stored) {
                    return Ok(Some(problem));
                }
                if stored.seq == head.seq && stored.hash != head.hash {
                    return Ok(Some(format!(
                        "replaced: its hash is {}, the head of the chain says {}",
                        stored.hash, head.hash
                    )));
                }
                self.last = ChainHead { writer_id: stored.writer_id, seq: stored.seq, hash: stored.hash };
            }
        }
        // The head was read before the events, so events behind it may be new ones, but it must not be ahead of them.
        if self.last.seq < head.seq {
            return Ok(Some(format!("missing: no event follows, but the chain has {}", head.seq)));
        }
        let now = store.chain_head(&head.writer_id).await?.map_or(0, |head| head.seq);
        Ok((now < self.last.seq).then(|| format!("the head of the chain was set back to event {now}")))
    }
}

/// Says whether `stored` is the event right behind `last`, and whole.
fn follows(last: &ChainHead, stored: &StoredEvent) -> Result<(), String> {
    if stored.seq != last.seq.saturating_add(1) {
        return Err(format!("missing: the next event in the chain is {}", stored.seq));
    }
    if stored.prev_hash != last.hash {
        return Err(format!(
            "does not follow the event before it, whose hash is {}, not {}",
            last.hash, stored.prev_hash
        ));
    }
    let hash = ChainedEvent::hash(&stored.writer_id, stored.seq, &stored.prev_hash, &stored.body);
    if stored.hash != hash {
        return Err(format!("changed: its hash is {}, but its content has {hash}", stored.hash));
    }
    let event: AuditEvent =
        serde_json::from_str(&stored.body).map_err(|problem| format!("its body cannot be read: {problem}"))?;
    for ((name, value), (_, expected)) in stored.columns.iter().zip(StoredEvent::columns_of(&event)) {
        if *value != expected {
            let (value, expected) = (shown(value.as_deref()), shown(expected.as_deref()));
            return Err(format!("changed: its column {name} says {value}, its body {expected}"));
        }
    }
    Ok(())
}

fn shown(value: Option<&str>) -> String {
    value.map_or_else(|| "nothing".to_owned(), |value| format!("{value:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::event::{EventKind, EventOutcome, EventSubject};

    /// A chain of two events, as the database would have it.
    fn stored() -> [StoredEvent; 2] {
        let mut head = ChainHead::empty("w_1");
        [1_000, 2_000].map(|at_ms| {
            let mut event =
                AuditEvent::new(at_ms, "req_1".to_owned(), EventKind::TokenExchange, EventOutcome::Granted, "granted");
            event.subject = Some(EventSubject { sub: "alice".to_owned(), idp: None, idp_sub: None });
            let chained = ChainedEvent::append(&mut head, event);
            let columns = StoredEvent::columns_of(&chained.event);
            let ChainedEvent { writer_id, seq, prev_hash, hash, body, event: _ } = chained;
            StoredEvent { writer_id, seq, prev_hash, hash, body, columns }
        })
    }

    fn set(event: &mut StoredEvent, column: &str, value: Option<&str>) {
        let (_, stored) = event.columns.iter_mut().find(|(name, _)| *name == column).unwrap();
        *stored = value.map(str::to_owned);
    }

    fn problem_after(damage: impl FnOnce(&mut StoredEvent)) -> String {
        let [first, mut second] = stored();
        damage(&mut second);
        let last = ChainHead { writer_id: first.writer_id, seq: first.seq, hash: first.hash };
        follows(&last, &second).map_or_else(|problem| problem, |()| "whole".to_owned())
    }

    #[test]
    fn an_event_that_follows_is_whole() {
        assert_eq!(problem_after(|_| {}), "whole");
    }

    #[test]
    fn each_part_of_an_event_is_checked() {
        assert_eq!(problem_after(|event| event.seq = 3), "missing: the next event in the chain is 3");
        assert!(
            problem_after(|event| event.prev_hash = "0".repeat(64)).starts_with("does not follow the event before")
        );
        assert!(problem_after(|event| event.hash = "0".repeat(64)).starts_with("changed: its hash is 0000"));
        assert!(problem_after(|event| event.body.push(' ')).starts_with("changed: its hash is"));
        assert_eq!(
            problem_after(|event| set(event, "subject", Some("bob"))),
            r#"changed: its column subject says "bob", its body "alice""#
        );
        assert_eq!(
            problem_after(|event| set(event, "jti", Some("t_1"))),
            r#"changed: its column jti says "t_1", its body nothing"#
        );
        assert!(problem_after(|event| set(event, "at_ms", Some("2001"))).contains("column at_ms"));
    }

    #[test]
    fn a_body_that_is_no_event_is_a_fault_even_if_its_hash_fits() {
        let problem = problem_after(|event| {
            event.body = "{}".to_owned();
            event.hash = ChainedEvent::hash(&event.writer_id, event.seq, &event.prev_hash, &event.body);
        });
        assert!(problem.starts_with("its body cannot be read"), "{problem}");
    }
}
