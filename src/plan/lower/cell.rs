//! A convolutional cell: preprocessing, an operation per edge and candidate, a mixture per node.

use super::operations::Window;
use super::partial::Source;
use super::writer::Writer;
use crate::error::{Error, Result};
use crate::plan::{AlphaId, Description, Init, Module, Op, OwnId, OwnSpec, Scope, Shape, ValueId};
use crate::space::{Domain, Edge, Operation, Output, Preprocess};

/// A cell's position in the network.
#[derive(Clone, Copy)]
pub(super) struct Cell {
    pub index: usize,
    /// The channels of its nodes.
    pub channels: usize,
    /// The number of its table among those of the space.
    pub table: usize,
    /// The stride of the edges that leave its inputs.
    pub stride: usize,
    /// Whether the previous cell is a reduction cell, so that the two inputs differ in size.
    pub after_reduction: bool,
}

impl Cell {
    pub fn module(&self) -> Module {
        Module::Cell(self.index)
    }
}

impl Writer<'_> {
    /// Writes a cell that reads the outputs of the cells before it, of the latest last, and returns its output.
    pub fn cell(&mut self, cell: Cell, inputs: &[ValueId]) -> Result<ValueId> {
        let spec = &self.space.cells[cell.table];
        let scope = |node: usize| Scope::node(cell.module(), node);
        let edges: Vec<(usize, Edge)> = spec.edges().into_iter().enumerate().collect();
        let mut sources = Vec::with_capacity(spec.inputs + spec.nodes);
        for (number, input) in inputs.iter().enumerate() {
            let input = match spec.preprocess {
                Preprocess::Project => self.preprocess(cell, number, *input, number == 0 && cell.after_reduction)?,
                Preprocess::Gate | Preprocess::Nothing => *input,
            };
            sources.push(self.source(&scope(number), input)?);
        }
        for node in spec.intermediate() {
            let into: Vec<(usize, Edge)> = edges.iter().filter(|(_, edge)| edge.to == node).copied().collect();
            let scope = scope(node);
            // Edges that are dropped are mixed one by one.
            let at_once = if self.plan.edges.drop_path { 1 } else { into.len().max(1) };
            let mut mixtures = Vec::new();
            for group in into.chunks(at_once) {
                let (mut inputs, mut terms) = (Vec::new(), Vec::new());
                for (row, edge) in group {
                    for (column, operation) in spec.operations(*row).iter().enumerate() {
                        if *operation != Operation::None {
                            inputs.push(self.edge(cell, *edge, *operation, sources[edge.from].mixed)?);
                            terms.push((*row, column));
                        }
                    }
                }
                if !inputs.is_empty() {
                    let mixed = self.push(&scope, Op::Mix { alpha: AlphaId(cell.table), terms }, inputs)?;
                    mixtures.push(self.dropped_edge(&scope, group[0].1, mixed)?);
                }
            }
            let sum = self.sum(&scope, mixtures)?;
            let sum = self.with_bypass(cell, &scope, sum, &into, &sources)?;
            let sum = self.with_auxiliary_skip(cell, &scope, sum, &into, &sources)?;
            let whole = self.aggregate(spec, &scope, "bn", sum)?;
            let is_read = edges.iter().any(|(_, edge)| edge.from == node);
            sources.push(if is_read { self.source(&scope, whole)? } else { Source::whole(whole) });
        }
        let outputs: Vec<ValueId> = spec.output_nodes().into_iter().map(|node| sources[node].whole).collect();
        if let (Output::Last, [output]) = (&spec.output, &outputs[..]) {
            return Ok(*output);
        }
        self.push(&Scope::whole(cell.module()), Op::Concat { blocks: 1 }, outputs)
    }

    /// Writes the sum of the edges into a node.
    fn sum(&mut self, scope: &Scope, edges: Vec<ValueId>) -> Result<ValueId> {
        let mut edges = edges.into_iter();
        let first = edges.next().ok_or_else(|| Error::space(format!("no operation leads to `{scope}`")))?;
        // The first sum is a value of its own, which may be overwritten.
        let sum = edges.next().map_or(Ok(first), |second| self.push(scope, Op::Add, vec![first, second]))?;
        edges.try_fold(sum, |sum, edge| self.push(scope, Op::Accumulate, vec![sum, edge]))
    }

    /// Writes the module of a user-defined operation.
    fn own(&mut self, cell: Cell, edge: Edge, operation: Operation, stride: usize, input: ValueId) -> Result<ValueId> {
        let scope = Scope::edge(cell.module(), edge, operation);
        let Some(makers) = self.makers else {
            return Err(Error::space(format!(
                "`{}` is your own operation, but its pydarts.Operation is missing; make its \
                 pydarts.Operation first, or replace the operations of the space by ones with it",
                operation.name()
            )));
        };
        let mut module = OwnSpec {
            name: scope.to_string(),
            operation,
            cell: cell.index,
            table: self.space.cells[cell.table].name,
            edge,
            stride,
            // A module for sequences has no height.
            input: match (self.domain, &self.shape(input).0[..]) {
                (Domain::Sequences { .. }, &[channels, _, length]) => Shape(vec![channels, length]),
                (_, shape) => Shape(shape.to_vec()),
            },
            description: Description::default(),
        };
        module.description = makers.describe(&module)?;
        let weights = module.description.weights.iter();
        let weights =
            weights.map(|(name, shape)| self.weight(format!("{scope}.{name}"), shape.clone(), Init::Own)).collect();
        self.plan.own.push(module);
        let module = OwnId(self.plan.own.len() - 1);
        self.push(&scope, Op::Own { module, weights, stride }, vec![input])
    }

    /// Brings an input of a cell to the cell's channels and size.
    fn preprocess(&mut self, cell: Cell, number: usize, input: ValueId, halve: bool) -> Result<ValueId> {
        let scope = Scope::preprocess(cell.module(), number);
        if halve {
            return self.factorized_reduction(&scope, cell.channels, 2, input);
        }
        let value = self.push(&scope, Op::Relu, vec![input])?;
        let value = self.conv(&scope, "conv", value, cell.channels, self.window(1, 1, 0))?;
        self.norm(&scope, "bn", value)
    }

    /// The stride of the operations of an edge.
    pub fn stride(&self, cell: Cell, edge: Edge) -> usize {
        if edge.from < self.space.inputs() { cell.stride } else { 1 }
    }

    /// Writes a candidate operation of an edge. A skip connection that keeps the size and the channels is the input itself,
    /// or the input with elements dropped; another one is a convolution, and nothing of it is dropped.
    fn edge(&mut self, cell: Cell, edge: Edge, operation: Operation, input: ValueId) -> Result<ValueId> {
        let scope = Scope::edge(cell.module(), edge, operation);
        let (stride, out) = (self.stride(cell, edge), self.plan.edges.mixed(cell.channels));
        match operation {
            Operation::SkipConnect if stride == 1 && self.channels(input) == out => self.dropped_skip(&scope, input),
            Operation::SkipConnect => self.factorized_reduction(&scope, out, stride, input),
            Operation::MaxPool3x3 | Operation::MaxPool3 => self.max_pool(&scope, input, 3, stride),
            Operation::MaxPool5 => self.max_pool(&scope, input, 5, stride),
            Operation::MaxPool7 => self.max_pool(&scope, input, 7, stride),
            Operation::AvgPool3x3 | Operation::AvgPool3 => self.avg_pool(&scope, input, 3, stride),
            Operation::AvgPool5 => self.avg_pool(&scope, input, 5, stride),
            Operation::AvgPool7 => self.avg_pool(&scope, input, 7, stride),
            Operation::SepConv3x3 | Operation::SepConv3 => self.separable(&scope, input, out, 3, stride),
            Operation::SepConv5x5 | Operation::SepConv5 => self.separable(&scope, input, out, 5, stride),
            Operation::SepConv7x7 | Operation::SepConv7 => self.separable(&scope, input, out, 7, stride),
            Operation::SepConv15 => self.separable(&scope, input, out, 15, stride),
            Operation::SepConv31 => self.separable(&scope, input, out, 31, stride),
            Operation::DilConv3x3 | Operation::DilConv3 => self.dilated(&scope, input, out, 3, stride),
            Operation::DilConv5x5 | Operation::DilConv5 => self.dilated(&scope, input, out, 5, stride),
            Operation::DilConv7 => self.dilated(&scope, input, out, 7, stride),
            Operation::Conv1x1 | Operation::NorConv1x1 | Operation::Conv1 => {
                self.plain(&scope, input, out, &[("conv", self.window(1, stride, 0))])
            }
            Operation::Conv3x3 | Operation::NorConv3x3 | Operation::Conv3 => {
                self.plain(&scope, input, out, &[("conv", self.window(3, stride, 1))])
            }
            Operation::Conv5 => self.plain(&scope, input, out, &[("conv", self.window(5, stride, 2))]),
            Operation::Conv7 => self.plain(&scope, input, out, &[("conv", self.window(7, stride, 3))]),
            Operation::Conv7x1_1x7 => {
                let wide = Window { kernel: [1, 7], stride: [1, stride], padding: [0, 3], dilation: 1, groups: 1 };
                let tall = Window { kernel: [7, 1], stride: [stride, 1], padding: [3, 0], dilation: 1, groups: 1 };
                self.plain(&scope, input, out, &[("conv_1x7", wide), ("conv_7x1", tall)])
            }
            Operation::Noise => self.push(&scope, Op::Noise { stride }, vec![input]),
            Operation::Own(_) => self.own(cell, edge, operation, stride, input),
            Operation::None | Operation::Tanh | Operation::Relu | Operation::Sigmoid | Operation::Identity => {
                Err(Error::space(format!(
                    "operation `{}` is not available on the edges of a convolutional cell",
                    operation.name()
                )))
            }
        }
    }
}
