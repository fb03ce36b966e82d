//! Lowering: from a space and a geometry to the plain plan of the search network, one instruction per layer.
//!
//! Nothing is shared and nothing is fused here: every edge has its own ReLU, poolings and convolutions, as in the
//! paper. What can be shared is for the passes to find.

use super::writer::Writer;
use crate::config::largest;
use crate::error::{Error, Result};
use crate::plan::{AlphaId, Geometry, Init, Op, Plan, Scale, Shape, Sizes, ValueId};
use crate::space::{CellKind, Edge, Operation, Space};

impl Geometry {
    /// Whether every count is in range.
    pub fn validate(&self) -> Result<()> {
        let (height, width) = self.image_size;
        let given = [
            ("channels", self.channels),
            ("layers", self.layers),
            ("num_classes", self.num_classes),
            ("in_channels", self.in_channels),
            ("image_size", height),
            ("image_size", width),
        ];
        for (name, number) in given {
            let most = largest(name);
            if number == 0 || number > most {
                let given = if name == "image_size" { format!("{height}x{width}") } else { number.to_string() };
                return Err(Error::space(format!("`{name}` is {given}; it must be from 1 to {most}")));
            }
        }
        Ok(())
    }
}

impl Plan {
    /// The plain plan of a space's search network.
    pub fn lower(space: &Space, geometry: &Geometry) -> Result<Plan> {
        space.validate()?;
        if space.kind == CellKind::Recurrent {
            return Err(Error::space(format!("space `{}` is recurrent: it reads words, not images", space.name)));
        }
        geometry.validate()?;
        let reductions = reductions(space, geometry.layers)?;
        let (height, width) = geometry.image_size;
        let images = Shape(vec![geometry.in_channels, height, width]);
        let mut network = Lowering { sizes: *geometry, writer: Writer::new(space, Sizes::Images(*geometry), images) };
        let input = network.writer.plan.input;
        let stem = network.stem(input)?;
        // The two cells before the current one.
        let (mut before, mut last) = (stem, stem);
        let (mut channels, mut after_reduction) = (geometry.channels, false);
        for cell in 0..geometry.layers {
            let reduction = reductions.contains(&cell);
            if reduction {
                channels *= 2;
                network.demand_reducible(cell, last)?;
            }
            let output = network.cell(Cell { index: cell, channels, reduction, after_reduction }, before, last)?;
            (before, last, after_reduction) = (last, output, reduction);
        }
        network.classifier(last)?;
        let plan = network.writer.plan;
        if cfg!(debug_assertions) {
            plan.check()?;
        }
        Ok(plan)
    }
}

/// The reduction cells of a network of `layers` cells.
fn reductions(space: &Space, layers: usize) -> Result<Vec<usize>> {
    let Some(cells) = &space.reductions else {
        return Ok(vec![layers / 3, 2 * layers / 3]);
    };
    if let Some(cell) = cells.iter().find(|cell| **cell >= layers) {
        return Err(Error::space(format!(
            "`reductions` names cell {cell}; a network of {layers} layers has the cells 0 to {}",
            layers - 1
        )));
    }
    Ok(cells.clone())
}

/// A cell's place in the network.
#[derive(Clone, Copy)]
struct Cell {
    index: usize,
    channels: usize,
    reduction: bool,
    /// Whether the previous cell is a reduction cell, so that the two inputs differ in size.
    after_reduction: bool,
}

/// A plan as it is written.
struct Lowering<'a> {
    sizes: Geometry,
    writer: Writer<'a>,
}

impl Lowering<'_> {
    // ---- the network

    fn stem(&mut self, images: ValueId) -> Result<ValueId> {
        let channels = self.writer.space.stem_multiplier * self.sizes.channels;
        let value = self.conv("stem", "conv", images, channels, Window::square(3, 1, 1))?;
        let weight = self.writer.weight("stem.bn.weight".to_string(), vec![channels], Init::Constant(1.0));
        let bias = self.writer.weight("stem.bn.bias".to_string(), vec![channels], Init::Constant(0.0));
        let statistic = self.writer.statistic("stem.bn".to_string(), channels);
        self.writer.push(
            "stem",
            Op::BatchNorm { statistic, members: 1, aliases: Vec::new(), scale: Scale::Affine { weight, bias } },
            vec![value],
        )
    }

    fn cell(&mut self, cell: Cell, before: ValueId, last: ValueId) -> Result<ValueId> {
        let name = format!("cells.{}", cell.index);
        let first = self.preprocess(&format!("{name}.pre0"), cell, before, cell.after_reduction)?;
        let second = self.preprocess(&format!("{name}.pre1"), cell, last, false)?;
        let mut states = vec![first, second];
        let edges = self.writer.space.edges();
        for node in self.writer.space.intermediate() {
            let (mut inputs, mut terms) = (Vec::new(), Vec::new());
            for (row, edge) in edges.iter().enumerate().filter(|(_, edge)| edge.to == node) {
                for (column, operation) in self.writer.space.operations.iter().enumerate() {
                    if *operation != Operation::None {
                        inputs.push(self.edge(cell, *edge, *operation, states[edge.from])?);
                        terms.push((row, column));
                    }
                }
            }
            let alpha = AlphaId(usize::from(cell.reduction));
            states.push(self.writer.push(&format!("{name}.nodes.{node}"), Op::Mix { alpha, terms }, inputs)?);
        }
        let concat = self.writer.space.concat.iter().map(|node| states[*node]).collect();
        self.writer.push(&name, Op::Concat { blocks: 1 }, concat)
    }

    fn classifier(&mut self, last: ValueId) -> Result<()> {
        let features = self.writer.push("classifier", Op::GlobalAvgPool, vec![last])?;
        let (inputs, classes) = (self.writer.channels(features), self.sizes.num_classes);
        let init = Init::FanIn(inputs);
        let weight = self.writer.weight("classifier.weight".to_string(), vec![classes, inputs], init);
        let bias = self.writer.weight("classifier.bias".to_string(), vec![classes], init);
        self.writer.plan.output = self.writer.push("classifier", Op::Linear { weight, bias }, vec![features])?;
        Ok(())
    }

    /// Refuses a reduction of an image with less than two rows or columns.
    fn demand_reducible(&self, cell: usize, value: ValueId) -> Result<()> {
        let (height, width) = self.writer.size(value);
        if height.min(width) >= 2 {
            return Ok(());
        }
        let (tall, wide) = self.sizes.image_size;
        Err(Error::space(format!(
            "cell {cell} is a reduction cell and its input is {height}x{width}; a reduction needs at least 2x2. Use \
             images larger than {tall}x{wide}, or a space whose `reductions` are fewer"
        )))
    }

    // ---- the operations

    /// Brings an input of a cell to the cell's channels and size.
    fn preprocess(&mut self, scope: &str, cell: Cell, input: ValueId, halve: bool) -> Result<ValueId> {
        if halve {
            return self.factorized_reduction(scope, cell, input);
        }
        let value = self.writer.push(scope, Op::Relu, vec![input])?;
        let value = self.conv(scope, "conv", value, cell.channels, Window::square(1, 1, 0))?;
        self.writer.norm(scope, "bn", value)
    }

    /// Halves the size with two 1x1 convolutions, one on the even pixels and one on the odd.
    fn factorized_reduction(&mut self, scope: &str, cell: Cell, input: ValueId) -> Result<ValueId> {
        let half = cell.channels / 2;
        if half == 0 {
            return Err(Error::space(format!(
                "cell {} has 1 channel, and its factorized reduction `{scope}` needs at least 2; use more `channels`",
                cell.index
            )));
        }
        let window = Window::square(1, 2, 0);
        let rectified = self.writer.push(scope, Op::Relu, vec![input])?;
        let even = self.conv(scope, "conv_1", rectified, half, window)?;
        let shifted = self.writer.push(scope, Op::Shift, vec![rectified])?;
        let odd = self.conv(scope, "conv_2", shifted, cell.channels - half, window)?;
        let value = self.writer.push(scope, Op::Concat { blocks: 1 }, vec![even, odd])?;
        self.writer.norm(scope, "bn", value)
    }

    fn edge(&mut self, cell: Cell, edge: Edge, operation: Operation, input: ValueId) -> Result<ValueId> {
        let scope = format!("cells.{}.edges.{}_{}.{}", cell.index, edge.from, edge.to, operation.name());
        let stride = if cell.reduction && edge.from < self.writer.space.inputs() { 2 } else { 1 };
        let channels = cell.channels;
        match operation {
            Operation::SkipConnect if stride == 1 => Ok(input),
            Operation::SkipConnect => self.factorized_reduction(&scope, cell, input),
            Operation::MaxPool3x3 => {
                let value = self.writer.push(&scope, Op::MaxPool { kernel: 3, stride, padding: 1 }, vec![input])?;
                self.writer.norm(&scope, "bn", value)
            }
            Operation::AvgPool3x3 => {
                let value = self.writer.push(&scope, Op::AvgPool { kernel: 3, stride, padding: 1 }, vec![input])?;
                self.writer.norm(&scope, "bn", value)
            }
            Operation::SepConv3x3 => self.separable(&scope, input, 3, stride),
            Operation::SepConv5x5 => self.separable(&scope, input, 5, stride),
            Operation::SepConv7x7 => self.separable(&scope, input, 7, stride),
            Operation::DilConv3x3 => self.dilated(&scope, input, 3, stride),
            Operation::DilConv5x5 => self.dilated(&scope, input, 5, stride),
            Operation::Conv1x1 => self.plain(&scope, input, &[("conv", Window::square(1, stride, 0))]),
            Operation::Conv3x3 => self.plain(&scope, input, &[("conv", Window::square(3, stride, 1))]),
            Operation::Conv7x1_1x7 => {
                let wide = Window { kernel: [1, 7], stride: [1, stride], padding: [0, 3], dilation: 1, groups: 1 };
                let tall = Window { kernel: [7, 1], stride: [stride, 1], padding: [3, 0], dilation: 1, groups: 1 };
                self.plain(&scope, input, &[("conv_1x7", wide), ("conv_7x1", tall)])
            }
            Operation::None | Operation::Tanh | Operation::Relu | Operation::Sigmoid | Operation::Identity => {
                Err(Error::space(format!(
                    "operation `{}` cannot stand on an edge of a convolutional cell of {channels} channels",
                    operation.name()
                )))
            }
        }
    }

    /// Twice: ReLU, depthwise, pointwise, norm; the first one strided.
    fn separable(&mut self, scope: &str, input: ValueId, kernel: usize, stride: usize) -> Result<ValueId> {
        let channels = self.writer.channels(input);
        let mut value = input;
        for (turn, stride) in [(1, stride), (2, 1)] {
            let depthwise = Window { groups: channels, ..Window::square(kernel, stride, kernel / 2) };
            value = self.writer.push(scope, Op::Relu, vec![value])?;
            value = self.conv(scope, &format!("dw{turn}"), value, channels, depthwise)?;
            value = self.conv(scope, &format!("pw{turn}"), value, channels, Window::square(1, 1, 0))?;
            value = self.writer.norm(scope, &format!("bn{turn}"), value)?;
        }
        Ok(value)
    }

    /// ReLU, depthwise with dilation 2, pointwise, norm.
    fn dilated(&mut self, scope: &str, input: ValueId, kernel: usize, stride: usize) -> Result<ValueId> {
        let channels = self.writer.channels(input);
        let depthwise = Window { dilation: 2, groups: channels, ..Window::square(kernel, stride, kernel - 1) };
        let value = self.writer.push(scope, Op::Relu, vec![input])?;
        let value = self.conv(scope, "dw", value, channels, depthwise)?;
        let value = self.conv(scope, "pw", value, channels, Window::square(1, 1, 0))?;
        self.writer.norm(scope, "bn", value)
    }

    /// ReLU, convolutions that keep the channels, norm.
    fn plain(&mut self, scope: &str, input: ValueId, convolutions: &[(&str, Window)]) -> Result<ValueId> {
        let channels = self.writer.channels(input);
        let mut value = self.writer.push(scope, Op::Relu, vec![input])?;
        for (name, window) in convolutions {
            value = self.conv(scope, name, value, channels, *window)?;
        }
        self.writer.norm(scope, "bn", value)
    }

    // ---- single instructions

    fn conv(&mut self, scope: &str, name: &str, input: ValueId, out: usize, window: Window) -> Result<ValueId> {
        let Window { kernel, stride, padding, dilation, groups } = window;
        let depth = self.writer.channels(input) / groups;
        let shape = vec![out, depth, kernel[0], kernel[1]];
        let init = Init::FanIn(depth * kernel[0] * kernel[1]);
        let weight = self.writer.weight(format!("{scope}.{name}.weight"), shape, init);
        self.writer.push(scope, Op::Conv { weight, members: 1, stride, padding, dilation, groups }, vec![input])
    }
}

/// The window of a convolution.
#[derive(Clone, Copy)]
struct Window {
    kernel: [usize; 2],
    stride: [usize; 2],
    padding: [usize; 2],
    dilation: usize,
    groups: usize,
}

impl Window {
    /// The same both ways, undilated, over all channels.
    fn square(kernel: usize, stride: usize, padding: usize) -> Window {
        Window { kernel: [kernel; 2], stride: [stride; 2], padding: [padding; 2], dilation: 1, groups: 1 }
    }
}
