//! The auxiliary skip connection (DARTS−): every edge adds its input, with a weight that does not depend on α.

use super::cell::Cell;
use super::partial::Source;
use super::writer::Writer;
use crate::error::Result;
use crate::plan::{AlphaId, Op, Scope, ValueId};
use crate::space::Edge;

impl Writer<'_> {
    /// A node with the auxiliary skip connections of its edges, which read all channels.
    pub fn with_auxiliary_skip(
        &mut self,
        cell: Cell,
        scope: &Scope,
        node: ValueId,
        edges: &[(usize, Edge)],
        sources: &[Source],
    ) -> Result<ValueId> {
        if !self.plan.edges.auxiliary_skip {
            return Ok(node);
        }
        let mut values = Vec::with_capacity(edges.len());
        for (_, edge) in edges {
            let input = sources[edge.from].whole;
            let stride = self.stride(cell, *edge);
            let value = if stride == 1 && self.channels(input) == cell.channels {
                input
            } else {
                let scope = Scope::auxiliary_skip(cell.module(), *edge);
                self.factorized_reduction(&scope, cell.channels, stride, input)?
            };
            values.push(self.dropped_edge(scope, *edge, value)?);
        }
        let terms = vec![(0, 0); values.len()];
        let skips = self.push(scope, Op::Mix { alpha: AlphaId(self.plan.alphas.len()), terms }, values)?;
        self.push(scope, Op::Add, vec![node, skips])
    }
}
