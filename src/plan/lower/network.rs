//! The plain plan of a network that reads images: stem, cells, classifier.
//!
//! Nothing is shared and nothing is fused here: every edge has its own ReLU, poolings and convolutions, as in the
//! paper. The passes find what can be shared.

use super::cell::Cell;
use super::writer::Writer;
use crate::config::largest;
use crate::error::{Error, Result};
use crate::plan::{EdgeOptions, Geometry, Init, Makers, Module, Op, Plan, Scope, Shape, Sizes, ValueId};
use crate::space::{Domain, Head, Space, Stage, Stages, Stem};

impl Geometry {
    /// Checks that every count is in range.
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
    /// The plain plan of a space's search network, without user-defined operations.
    pub fn lower(space: &Space, geometry: &Geometry) -> Result<Plan> {
        Plan::lower_with(space, geometry, EdgeOptions::default(), None)
    }

    /// The plain plan of a space's search network.
    pub fn lower_with(
        space: &Space,
        geometry: &Geometry,
        edges: EdgeOptions,
        makers: Option<&dyn Makers>,
    ) -> Result<Plan> {
        space.validate()?;
        let Some(domain) = space.domain() else {
            return Err(Error::space(format!("space `{}` is recurrent: it reads words, not images", space.name)));
        };
        geometry.validate()?;
        let (height, width) = geometry.image_size;
        if domain != Domain::Images && height != 1 {
            return Err(Error::space(format!(
                "`image_size` is {height}x{width}; space `{}` reads sequences, of height 1",
                space.name
            )));
        }
        let images = Shape(vec![geometry.in_channels, height, width]);
        let mut writer = Writer::new(space, Sizes::Images(*geometry), images, edges);
        writer.makers = makers;
        let input = writer.plan.input;
        let stem = stem(&mut writer, geometry.channels, input)?;
        let last = match &space.network.stages {
            Stages::Chain { reductions } => chain(&mut writer, geometry, reductions.as_deref(), stem)?,
            Stages::Residual { stages } => residual(&mut writer, geometry, *stages, stem)?,
            Stages::Direct { stages } => direct(&mut writer, geometry, stages, stem)?,
            Stages::Recurrence => return Err(Error::space("a network that reads images has no recurrence")),
        };
        classifier(&mut writer, geometry, last)?;
        let plan = writer.plan;
        if cfg!(debug_assertions) {
            plan.check()?;
        }
        Ok(plan)
    }
}

/// Cells that read the outputs of the two cells before them; some halve the size and double the channels.
fn chain(writer: &mut Writer, geometry: &Geometry, reductions: Option<&[usize]>, stem: ValueId) -> Result<ValueId> {
    let reductions = positions(reductions, geometry.layers)?;
    let (mut before, mut last) = (stem, stem);
    let (mut channels, mut after_reduction) = (geometry.channels, false);
    for index in 0..geometry.layers {
        let reduction = reductions.contains(&index);
        if reduction {
            channels *= 2;
            demand_reducible(writer, geometry, index, last)?;
        }
        let (table, stride) = if reduction { (1, 2) } else { (0, 1) };
        let output = writer.cell(Cell { index, channels, table, stride, after_reduction }, &[before, last])?;
        (before, last, after_reduction) = (last, output, reduction);
    }
    Ok(last)
}

/// Stages of cells that read the output of the one before them. Between two stages a residual block halves the size and
/// doubles the channels; cells and blocks are numbered through.
fn residual(writer: &mut Writer, geometry: &Geometry, stages: usize, stem: ValueId) -> Result<ValueId> {
    let (mut last, mut channels, mut index) = (stem, geometry.channels, 0);
    for stage in 0..stages {
        if stage > 0 {
            channels *= 2;
            last = writer.residual_block(Module::Cell(index), channels, last)?;
            index += 1;
        }
        for _ in 0..geometry.layers {
            let channels = writer.channels(last);
            let cell = Cell { index, channels, table: 0, stride: 1, after_reduction: false };
            last = writer.cell(cell, &[last])?;
            index += 1;
        }
    }
    Ok(last)
}

/// Stages of cells that read the output of the one before them, the first of each with other channels or another size.
fn direct(writer: &mut Writer, geometry: &Geometry, stages: &[Stage], stem: ValueId) -> Result<ValueId> {
    let (mut last, mut channels, mut index) = (stem, geometry.channels, 0);
    for stage in stages {
        channels *= stage.channels;
        for layer in 0..geometry.layers {
            let stride = if layer == 0 { stage.stride } else { 1 };
            if stride > 1 {
                demand_reducible(writer, geometry, index, last)?;
            }
            last = writer.cell(Cell { index, channels, table: 0, stride, after_reduction: false }, &[last])?;
            index += 1;
        }
    }
    Ok(last)
}

/// The numbers of the reduction cells in a network of `layers` cells.
fn positions(given: Option<&[usize]>, layers: usize) -> Result<Vec<usize>> {
    let Some(cells) = given else {
        return Ok(vec![layers / 3, 2 * layers / 3]);
    };
    if let Some(cell) = cells.iter().find(|cell| **cell >= layers) {
        return Err(Error::space(format!(
            "`reductions` names cell {cell}; a network of {layers} layers has the cells 0 to {}",
            layers - 1
        )));
    }
    Ok(cells.to_vec())
}

/// The first layers; `channels` are those of the first cell.
fn stem(writer: &mut Writer, channels: usize, images: ValueId) -> Result<ValueId> {
    let scope = Scope::whole(Module::Stem);
    if writer.space.network.stem != Stem::Strided {
        let width = writer.space.network.stem_multiplier() * channels;
        let value = writer.conv(&scope, "conv", images, width, writer.window(3, 1, 1))?;
        return writer.affine_norm(&scope, "bn", value);
    }
    let value = writer.conv(&scope, "conv_a", images, (channels / 2).max(1), writer.window(3, 2, 1))?;
    let value = writer.affine_norm(&scope, "bn_a", value)?;
    let value = writer.push(&scope, Op::Relu, vec![value])?;
    let value = writer.conv(&scope, "conv_b", value, channels, writer.window(3, 2, 1))?;
    writer.affine_norm(&scope, "bn_b", value)
}

fn classifier(writer: &mut Writer, geometry: &Geometry, last: ValueId) -> Result<()> {
    let last = match writer.space.network.head {
        Head::NormalizedClassifier => {
            let scope = Scope::whole(Module::Last);
            let value = writer.affine_norm(&scope, "bn", last)?;
            writer.push(&scope, Op::Relu, vec![value])?
        }
        Head::Classifier | Head::TiedDecoder => last,
    };
    let scope = Scope::whole(Module::Classifier);
    let features = writer.push(&scope, Op::GlobalAvgPool, vec![last])?;
    let (inputs, classes) = (writer.channels(features), geometry.num_classes);
    let init = Init::FanIn(inputs);
    let weight = writer.weight(format!("{scope}.weight"), vec![classes, inputs], init);
    let bias = writer.weight(format!("{scope}.bias"), vec![classes], init);
    writer.plan.output = writer.push(&scope, Op::Linear { weight, bias }, vec![features])?;
    Ok(())
}

/// Refuses to reduce an image that has less than two rows or columns.
fn demand_reducible(writer: &Writer, geometry: &Geometry, cell: usize, value: ValueId) -> Result<()> {
    let (height, width) = writer.size(value);
    let (tall, wide) = geometry.image_size;
    if writer.domain != Domain::Images {
        return if width >= 2 {
            Ok(())
        } else {
            Err(Error::space(format!(
                "cell {cell} is a reduction cell and its input has length {width}; a reduction needs at least 2. Use \
             sequences longer than {wide}, or a space with fewer `reductions`"
            )))
        };
    }
    if height.min(width) >= 2 {
        return Ok(());
    }
    let (sort, fewer) = match writer.space.network.stages() {
        Some(_) => ("halves the size", "strides in `stages`"),
        None => ("is a reduction cell", "`reductions`"),
    };
    Err(Error::space(format!(
        "cell {cell} {sort} and its input is {height}x{width}; a reduction needs at least 2x2. Use images larger than \
         {tall}x{wide}, or a space with fewer {fewer}"
    )))
}
