//! The trace: one line a gate, in order, kept in the audit event and printed by `check` and `explain`.

use super::reason::{Gate, ReasonCode};
use super::{Cut, Refusal};
use serde::{Deserialize, Serialize};
use std::fmt;

/// What a gate did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GateResult {
    /// Everything that was asked for may go on.
    Passed,
    /// Less than was asked for may go on.
    Narrowed,
    /// Nothing may go on.
    Refused,
    /// The gate does not apply.
    Skipped,
}

/// One line of the trace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TraceLine {
    /// Which gate.
    pub gate: Gate,
    /// What it did.
    pub result: GateResult,
    /// Why, if it narrowed or refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<ReasonCode>,
    /// In words for operators.
    pub note: String,
}

impl fmt::Display for TraceLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let result = match self.result {
            GateResult::Passed => "passed",
            GateResult::Narrowed => "narrowed",
            GateResult::Refused => "refused",
            GateResult::Skipped => "skipped",
        };
        write!(f, "{:>2}  {:<8}  {}: {}", self.gate.number(), result, self.gate.title(), self.note)?;
        match self.reason {
            Some(reason) => write!(f, " [{}]", reason.as_str()),
            None => Ok(()),
        }
    }
}

/// The lines so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trace(Vec<TraceLine>);

impl Trace {
    /// The lines, in order.
    pub fn lines(&self) -> &[TraceLine] {
        &self.0
    }

    /// The lines, given away.
    pub fn into_lines(self) -> Vec<TraceLine> {
        self.0
    }

    pub(super) fn pass(&mut self, gate: Gate, note: impl Into<String>) {
        self.0.push(TraceLine { gate, result: GateResult::Passed, reason: None, note: note.into() });
    }

    pub(super) fn skip(&mut self, gates: &[Gate], note: &str) {
        self.0.extend(gates.iter().map(|gate| TraceLine {
            gate: *gate,
            result: GateResult::Skipped,
            reason: None,
            note: note.to_owned(),
        }));
    }

    /// Passed, or narrowed when something was cut at this gate.
    pub(super) fn pass_or_narrow(&mut self, gate: Gate, cut: &[Cut], note: String) {
        let Some(first) = cut.first() else {
            return self.pass(gate, note);
        };
        let names: Vec<String> = cut.iter().map(|cut| format!("{} ({})", cut.scope, cut.reason.as_str())).collect();
        let note = format!("{note}; cut: {}", names.join(", "));
        self.0.push(TraceLine { gate, result: GateResult::Narrowed, reason: Some(first.reason), note });
    }

    /// Forgets the lines of this gate and of those behind it.
    pub(super) fn back_to(&mut self, gate: Gate) {
        self.0.retain(|line| line.gate < gate);
    }

    pub(super) fn refuse(&mut self, refusal: &Refusal) {
        let reason = refusal.reason;
        let note = if refusal.detail.is_empty() { reason.meaning().to_owned() } else { refusal.detail.clone() };
        self.0.push(TraceLine { gate: reason.gate(), result: GateResult::Refused, reason: Some(reason), note });
    }
}
