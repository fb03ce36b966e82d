//! Which mixing weights decide whether a part of a lowered plan is used: those that multiply the operations of edges.

use crate::plan::{AlphaId, Op, Plan};

/// A mixing weight: its table, row and column.
pub type Term = (AlphaId, (usize, usize));

/// For each part of a plan the mixing weights of the operations that it belongs to; empty outside of edges.
pub struct Terms {
    /// One per weight.
    pub weights: Vec<Vec<Term>>,
    /// One per running statistic.
    pub statistics: Vec<Vec<Term>>,
    /// One per module of a user-defined operation.
    pub own: Vec<Vec<Term>>,
}

impl Terms {
    /// Those of the weights of `plan`, by name.
    pub fn of_weights<'t>(&'t self, plan: &'t Plan) -> impl Iterator<Item = (&'t str, &'t [Term])> {
        named(plan.weights.iter().map(|weight| &weight.name), &self.weights)
    }

    /// Those of the running statistics of `plan`, by name.
    pub fn of_statistics<'t>(&'t self, plan: &'t Plan) -> impl Iterator<Item = (&'t str, &'t [Term])> {
        named(plan.statistics.iter().map(|statistic| &statistic.name), &self.statistics)
    }

    /// Those of the modules of user-defined operations of `plan`, by name.
    pub fn of_own<'t>(&'t self, plan: &'t Plan) -> impl Iterator<Item = (&'t str, &'t [Term])> {
        named(plan.own.iter().map(|module| &module.name), &self.own)
    }
}

fn named<'t>(
    names: impl Iterator<Item = &'t String>,
    terms: &'t [Vec<Term>],
) -> impl Iterator<Item = (&'t str, &'t [Term])> {
    names.map(String::as_str).zip(terms.iter().map(Vec::as_slice))
}

impl Plan {
    /// The mixing weights of the parts of a lowered plan, in which edges have at most weights in common.
    pub fn terms(&self) -> Terms {
        let none = |count: usize| vec![Vec::new(); count];
        let mut terms = Terms {
            weights: none(self.weights.len()),
            statistics: none(self.statistics.len()),
            own: none(self.own.len()),
        };
        let mut of_value: Vec<Option<Term>> = vec![None; self.values()];
        for instruction in self.instructions.iter().rev() {
            if let Op::Mix { alpha, terms } = &instruction.op {
                for (input, term) in instruction.inputs.iter().zip(terms) {
                    of_value[input.0] = Some((*alpha, *term));
                }
                continue;
            }
            let term = of_value[instruction.output.0].filter(|_| !instruction.scope.edges().is_empty());
            let Some(term) = term else { continue };
            instruction.inputs.iter().for_each(|input| of_value[input.0] = Some(term));
            instruction.op.weights().into_iter().for_each(|weight| terms.weights[weight].push(term));
            match &instruction.op {
                Op::BatchNorm { statistic, .. } => terms.statistics[statistic.0].push(term),
                Op::Own { module, .. } => terms.own[module.0].push(term),
                _ => {}
            }
        }
        terms
    }
}
