//! Partial channels (PC-DARTS): the operations of an edge read the first channels of a node. The others bypass them,
//! pooled if the edge halves the size, and only weighted by the edge.
//!
//! Concatenation, shuffle and sum are linear, so a node sums its mixtures and its bypasses first, and then puts them
//! together once.

use super::cell::Cell;
use super::operations::Window;
use super::writer::Writer;
use crate::error::Result;
use crate::plan::{AlphaId, Fill, Op, Scope, ValueId};
use crate::space::Edge;

/// A node as the edges that leave it read it.
#[derive(Clone, Copy)]
pub(super) struct Source {
    /// All channels.
    pub whole: ValueId,
    /// The channels that go through the operations.
    pub mixed: ValueId,
    /// The channels that bypass them; None if there are none.
    bypass: Option<ValueId>,
}

impl Source {
    /// A node whose channels all go through the operations, or that no edge leaves.
    pub fn whole(whole: ValueId) -> Source {
        Source { whole, mixed: whole, bypass: None }
    }
}

impl Writer<'_> {
    /// The parts of a node.
    pub fn source(&mut self, scope: &Scope, whole: ValueId) -> Result<Source> {
        let channels = self.channels(whole);
        let at = self.plan.edges.mixed(channels);
        if at == channels {
            return Ok(Source::whole(whole));
        }
        let mixed = self.push(scope, Op::Cut { at, rest: false }, vec![whole])?;
        let bypass = self.push(scope, Op::Cut { at, rest: true }, vec![whole])?;
        Ok(Source { whole, mixed, bypass: Some(bypass) })
    }

    /// A node from the mixture of its edges and what bypasses it.
    pub fn with_bypass(
        &mut self,
        cell: Cell,
        scope: &Scope,
        mixture: ValueId,
        edges: &[(usize, Edge)],
        sources: &[Source],
    ) -> Result<ValueId> {
        let (mut values, mut terms) = (Vec::new(), Vec::new());
        for (row, edge) in edges {
            let Some(bypass) = sources[edge.from].bypass else { return Ok(mixture) };
            let value = if self.stride(cell, *edge) == 1 { bypass } else { self.halved(scope, bypass)? };
            values.push(self.dropped_edge(scope, *edge, value)?);
            terms.push((*row, 0));
        }
        let sum = match (self.plan.edges.edge_normalization, values.split_first()) {
            (true, _) => {
                let alpha = AlphaId(self.space.cells.len() + cell.table);
                self.push(scope, Op::Mix { alpha, terms }, values)?
            }
            (false, Some((first, others))) => {
                let mut sum = *first;
                for value in others {
                    sum = self.push(scope, Op::Add, vec![sum, *value])?;
                }
                sum
            }
            (false, None) => return Ok(mixture),
        };
        let by = self.channels(mixture);
        let together = self.push(scope, Op::Concat { blocks: 1 }, vec![mixture, sum])?;
        self.push(scope, Op::Shuffle { by }, vec![together])
    }

    /// The maximum of each pair of positions in every direction.
    fn halved(&mut self, scope: &Scope, value: ValueId) -> Result<ValueId> {
        let Window { kernel, stride, padding, .. } = self.window(2, 2, 0);
        if self.domain.is_causal() {
            // Position i must not depend on positions after 2i.
            let padded = self.push(scope, Op::Pad { left: 1, fill: Fill::Lowest }, vec![value])?;
            return self.push(scope, Op::MaxPool { kernel, stride, padding, ceil: false }, vec![padded]);
        }
        self.push(scope, Op::MaxPool { kernel, stride, padding, ceil: true }, vec![value])
    }
}
