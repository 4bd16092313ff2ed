//! Checks the whole trail: every checkpoint, every chain, and that they say the same.

use super::chain::Chain;
use super::signed::{CheckpointFault, Signed};
use crate::domain::checkpoint::ReadCheckpoint;
use crate::domain::event::ChainHead;
use crate::store::{ADMINISTRATION_WRITER, Misfit, Store, StoreError, Versions};
use serde::Serialize;
use std::collections::BTreeMap;

/// How often the trail is read again because somebody removed old events in order meanwhile.
const AGAIN_AT_MOST: usize = 3;

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

/// Where events of a chain were removed in order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PrunedChain {
    /// Whose chain.
    pub writer_id: String,
    /// The last event that was removed.
    pub seq: i64,
    /// Its hash, in hex; the next event names it.
    pub hash: String,
    /// The checkpoint that signed it.
    pub checkpoint: i64,
    /// How many events up to there are not removed yet.
    pub left: u64,
}

/// The newest checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NewestCheckpoint {
    /// Its number.
    pub number: i64,
    /// Its hash, in hex.
    pub hash: String,
    /// When it was made, Unix seconds.
    pub made_at: i64,
    /// The thumbprint of the key that signed it.
    pub kid: String,
}

/// The result of a check.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ChainReport {
    /// How many events were read.
    pub events: u64,
    /// How many of them a checkpoint signed.
    pub signed_events: u64,
    /// How many checkpoints there are.
    pub checkpoints: u64,
    /// The newest one.
    pub newest_checkpoint: Option<NewestCheckpoint>,
    /// How many checkpoints were compared with a copy that was kept outside.
    pub compared: u64,
    /// The keys that signed and for which nobody but the database vouches, by thumbprint.
    pub unvouched_keys: Vec<String>,
    /// Every chain.
    pub chains: Vec<CheckedChain>,
    /// Where events were removed in order.
    pub pruned: Vec<PrunedChain>,
    /// What is wrong with chains; the first fault of each.
    pub faults: Vec<ChainFault>,
    /// What is wrong with checkpoints.
    pub checkpoint_faults: Vec<CheckpointFault>,
    /// True if there are rows that cannot be read, and nothing else was looked at.
    pub is_unread: bool,
}

impl ChainReport {
    /// True if nothing is wrong.
    pub fn is_whole(&self) -> bool {
        self.faults.is_empty() && self.checkpoint_faults.is_empty()
    }
}

/// Reads every checkpoint and every chain from its first event, unless there are rows that cannot be read: then only those
/// are told, and no chain. Servers may go on writing meanwhile. `outside` are the
/// checkpoints that were kept elsewhere, by number.
pub async fn verify(
    store: &Store,
    reader: &dyn ReadCheckpoint,
    outside: &BTreeMap<i64, String>,
) -> Result<ChainReport, StoreError> {
    let misfits = store.misfits().await?;
    if !misfits.is_empty() {
        return Ok(of_misfits(&misfits));
    }
    let mut tries = 0;
    loop {
        let signed = Signed::read(store, reader, outside).await?;
        let report = check(store, &signed).await?;
        tries += 1;
        if report.is_whole() || tries == AGAIN_AT_MOST {
            return Ok(report);
        }
        // Events that were removed in order while they were read look like missing ones.
        let newest = store.newest_checkpoint().await?;
        let newest = newest.and_then(|stored| reader.read(&stored.jws).ok());
        if newest.is_none_or(|newest| newest.checkpoint.pruned <= signed.standing.pruned) {
            return Ok(report);
        }
    }
}

/// What cannot be read is the first thing that is wrong, and nothing else is read.
fn of_misfits(misfits: &[Misfit]) -> ChainReport {
    let mut report = ChainReport { is_unread: true, ..ChainReport::default() };
    for Misfit { table, writer_id, number } in misfits {
        let problem = format!("a value of its row in {table} is not of the type of its column, or no text");
        if table == "audit_event" || table == "audit_chain" {
            report.faults.push(ChainFault { writer_id: writer_id.clone(), seq: *number, problem });
        } else {
            report.checkpoint_faults.push(CheckpointFault { number: *number, problem });
        }
    }
    report
}

async fn check(store: &Store, signed: &Signed) -> Result<ChainReport, StoreError> {
    let standing = &signed.standing;
    let mut report = ChainReport {
        checkpoints: signed.count,
        newest_checkpoint: signed.newest_kid.as_ref().map(|kid| NewestCheckpoint {
            number: standing.number,
            hash: standing.previous(),
            made_at: standing.made_at,
            kid: kid.clone(),
        }),
        compared: signed.compared,
        unvouched_keys: signed.unvouched.iter().cloned().collect(),
        checkpoint_faults: signed.faults.clone(),
        ..ChainReport::default()
    };
    let mut heads: BTreeMap<String, Option<ChainHead>> = BTreeMap::new();
    for writer_id in store.chains_without_head().await? {
        heads.insert(writer_id, None);
    }
    for writer_id in signed.writers() {
        heads.insert(writer_id.to_owned(), None);
    }
    for head in store.chain_heads().await? {
        heads.insert(head.writer_id.clone(), Some(head));
    }
    // Every change of what is declared, agreed to or signed with is an event, in one chain.
    let changes = store.versions().await?;
    if !heads.contains_key(ADMINISTRATION_WRITER) && changes != Versions::FIRST {
        let problem = "missing: the database was changed, and there is no chain of such changes".to_owned();
        report.faults.push(ChainFault { writer_id: ADMINISTRATION_WRITER.to_owned(), seq: 1, problem });
    }
    let mut left = BTreeMap::new();
    for (writer_id, head) in heads {
        let (chain, problem) = read(store, signed, &writer_id, head.as_ref()).await?;
        let fault = problem.map(|problem| (chain.last.seq.saturating_add(1), problem));
        if let Some((seq, problem)) = fault.or_else(|| chain.late.clone()) {
            report.faults.push(ChainFault { writer_id: writer_id.clone(), seq, problem });
        }
        report.events = report.events.saturating_add(chain.events);
        report.signed_events = report.signed_events.saturating_add(chain.signed);
        left.insert(writer_id, chain.before_cut);
        let ChainHead { writer_id, seq, hash } = chain.last;
        report.chains.push(CheckedChain { writer_id, seq, hash });
    }
    report.pruned = signed
        .cuts()
        .map(|cut| PrunedChain {
            writer_id: cut.segment.writer.clone(),
            seq: cut.segment.last,
            hash: cut.segment.hash.clone(),
            checkpoint: cut.checkpoint,
            left: left.get(&cut.segment.writer).copied().unwrap_or_default(),
        })
        .collect();
    Ok(report)
}

/// Reads a chain, again as long as what is being removed in order goes on going meanwhile.
async fn read(
    store: &Store,
    signed: &Signed,
    writer_id: &str,
    head: Option<&ChainHead>,
) -> Result<(Chain, Option<String>), StoreError> {
    loop {
        let mut chain = Chain::new(writer_id, signed.expected(writer_id, head.cloned()));
        let problem = first_fault(store, &mut chain, head).await?;
        let may_have_gone = problem.is_some() && chain.is_before_cut() && chain.began_at.is_some();
        if may_have_gone && store.first_seq(writer_id).await?.is_none_or(|first| Some(first) > chain.began_at) {
            continue;
        }
        return Ok((chain, problem));
    }
}

async fn first_fault(store: &Store, chain: &mut Chain, head: Option<&ChainHead>) -> Result<Option<String>, StoreError> {
    if let Some(problem) = chain.first_fault(store, i64::MAX).await? {
        return Ok(Some(problem));
    }
    if let Some(problem) = chain.unread() {
        return Ok(Some(problem));
    }
    // Places are given once. A table that was built anew could have one twice, and each look-up finds either.
    let there = store.count_events_up_to(&chain.last.writer_id, chain.last.seq).await?;
    if u64::try_from(there).is_ok_and(|there| there > chain.events) {
        return Ok(Some(format!("there are {there} events up to here, in {} places", chain.events)));
    }
    // The head was read before the events, so events behind it may be new ones, but it must not be ahead of them.
    if let Some(head) = head
        && chain.last.seq < head.seq
    {
        return Ok(Some(format!("missing: no event follows, but the chain has {}", head.seq)));
    }
    let now = store.chain_head(&chain.last.writer_id).await?;
    let Some(now) = now else {
        return Ok(Some("the head of the chain was removed".to_owned()));
    };
    if now.seq < chain.last.seq {
        return Ok(Some(format!("the head of the chain was set back to event {}", now.seq)));
    }
    // A chain of whose events none is left has nothing else to be compared with.
    let is_other = now.seq == chain.last.seq && now.hash != chain.last.hash;
    Ok(is_other.then(|| format!("the head of the chain says {}, its last event has {}", now.hash, chain.last.hash)))
}
