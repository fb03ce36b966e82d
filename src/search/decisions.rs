//! Decisions at the end of an epoch: they are taken together, checked, applied, and saved.

use super::evaluate::Seen;
use super::run::Run;
use crate::arch::Decision;
use crate::decide::AtEpochEnd;
use crate::error::{ErrorKind, Result};
use crate::relaxation::Restrictions;

/// How often a search may return to the same epoch.
const MOST_RETURNS: usize = 10;

impl Run<'_> {
    /// Takes and applies the decisions at the end of `epoch`, the latest one, and saves the search. If a decision cannot be
    /// applied, none is, and a resumed search takes them again.
    pub(super) fn decide(&mut self, epoch: usize, seen: &Seen) -> Result<Vec<Decision>> {
        let at = AtEpochEnd {
            epoch,
            epochs: self.config.optimisation.epochs,
            arch_start_epoch: self.config.optimisation.arch_start_epoch,
            tables: self.relaxed.relaxations.tables(),
            states: &self.restrictions.states,
            alphas: &seen.alphas,
            strengths: &seen.strengths,
            architecture: &seen.architecture,
            history: &self.progress.history,
            decisions: &self.decisions,
            seed: self.config.optimisation.seed,
        };
        let mut taken = Vec::new();
        for decider in self.search.deciders {
            // Parameters of deciders have no schedules.
            taken.extend(decider.rule().decide(&at, &decider.at(0, 1))?);
        }
        if !taken.is_empty() {
            self.apply(epoch, &taken)?;
        }
        self.progress.undecided = false;
        self.save()?;
        self.keep_state()?;
        Ok(taken)
    }

    /// Takes the decisions that failed at the end of the latest epoch of a resumed search.
    pub(super) fn decide_late(&mut self) -> Result<()> {
        if !self.progress.undecided {
            return Ok(());
        }
        let epoch = self.progress.latest_epoch();
        let seen = self.look(epoch)?;
        self.decide(epoch, &seen).map(drop)
    }

    fn apply(&mut self, epoch: usize, taken: &[Decision]) -> Result<()> {
        let (mut restrictions, mut decisions) = (self.restrictions.clone(), self.decisions.clone());
        let (mut epoch, mut earlier) = (epoch, None);
        for decision in taken {
            decisions.push((epoch, decision.clone()));
            if let Decision::RollBack { epoch: left } = decision {
                let returns = decisions.iter().filter(|(_, other)| other == decision).count();
                if returns > MOST_RETURNS {
                    let why = format!("the search has returned to this epoch {MOST_RETURNS} times already");
                    return Err(decision.refuse(&why));
                }
                let state = self.state_after(*left, epoch).map_err(|why| match why.kind {
                    ErrorKind::Config => decision.refuse(&why.detail),
                    _ => why,
                });
                let state = self.relaxed.ranks.agree(state)?;
                restrictions = state.restrictions.clone();
                // Later decisions of this list change the earlier state.
                (epoch, earlier) = (left - 1, Some(state));
            }
            restrictions.apply(decision)?;
        }
        if taken.iter().any(|decision| !matches!(decision, Decision::Stop { .. })) {
            self.selected = None;
        }
        if let Some(earlier) = earlier {
            self.return_to(earlier)?;
        }
        self.decisions = decisions;
        self.set_restrictions(restrictions)
    }

    /// Replaces masks and frozen rows, and sets α and its moments to 0 where masked.
    pub(super) fn set_restrictions(&mut self, restrictions: Restrictions) -> Result<()> {
        self.relaxed.relaxations.set_states(&restrictions.states)?;
        self.restrictions = restrictions;
        self.clear_masked()
    }

    /// Sets α and its moments to 0 where masked.
    pub(super) fn clear_masked(&mut self) -> Result<()> {
        if !self.restrictions.masked().contains(&true) {
            return Ok(());
        }
        self.state.clear(&self.relaxed.relaxations.masked()?)
    }
}
