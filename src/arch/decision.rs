//! Decisions about a search that are taken at the end of an epoch.

use serde::{Deserialize, Serialize};

/// The decisions that hold now, each with the number of its epoch, from decisions in the order in which they were taken:
/// a roll back undoes those at and after the end of the epochs that it undoes.
pub fn in_effect(taken: &[(usize, Decision)]) -> Vec<(usize, &Decision)> {
    let mut held: Vec<(usize, &Decision)> = Vec::new();
    for (epoch, decision) in taken {
        match decision {
            Decision::RollBack { epoch: left } => held.retain(|(epoch, _)| epoch < left),
            _ => held.push((*epoch, decision)),
        }
    }
    held
}

/// A decision. Rows and columns are those of a table of logits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "decision", rename_all = "snake_case", deny_unknown_fields)]
pub enum Decision {
    /// Candidates of a row are removed. Their logits become 0 and do not move any more.
    Mask {
        /// The name of the table.
        table: String,
        /// The row.
        row: usize,
        /// The candidates.
        columns: Vec<usize>,
    },
    /// A row is decided: its mixing weights are 1 for one candidate and 0 for the others.
    Freeze {
        /// The name of the table.
        table: String,
        /// The row.
        row: usize,
        /// The candidate.
        column: usize,
    },
    /// A row is removed: its mixing weights are 0.
    Drop {
        /// The name of the table.
        table: String,
        /// The row.
        row: usize,
    },
    /// The search returns to the state after an earlier epoch, with the masks and frozen rows of that state.
    RollBack {
        /// The number of epochs that remain completed, at least 1.
        epoch: usize,
    },
    /// The search ends, with status "complete".
    Stop {
        /// Why, as one phrase.
        reason: String,
    },
}
