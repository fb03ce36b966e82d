//! The shape each operation makes of its inputs' shapes; the one place that knows, for lowering and for checking.

use super::{Op, Shape, WeightSpec};

impl Op {
    /// The shape of the output, or why there is none.
    pub(super) fn output_shape(&self, inputs: &[&Shape], weights: &[WeightSpec]) -> Result<Shape, String> {
        match self {
            Op::Concat { blocks } => concat(inputs, *blocks),
            Op::Gate { .. } => gate(inputs),
            Op::Gates { rows, columns, .. } => match gate(inputs)?.0[..] {
                [states, units] if states == rows.len() && !columns.is_empty() => Ok(Shape(vec![units])),
                _ => Err(format!("{} rows for {:?}", rows.len(), inputs.first().map(|shape| &shape.0))),
            },
            Op::Mean => mix(inputs, inputs.len()),
            Op::Mix { terms, .. } => mix(inputs, terms.len()),
            Op::Stack => stack(inputs),
            Op::Add | Op::Accumulate => sum(inputs),
            _ => {
                let [input] = inputs else {
                    return Err(format!("{} inputs instead of one", inputs.len()));
                };
                self.of_one(input, weights)
            }
        }
    }

    fn of_one(&self, input: &Shape, weights: &[WeightSpec]) -> Result<Shape, String> {
        match self {
            Op::Conv { weight, members, stride, padding, dilation, groups } => {
                let image = Image::of(input)?;
                let channels = image.channels;
                let weight = weights.get(weight.0).ok_or("a weight that does not exist")?;
                let [out, depth, tall, wide] = weight.shape[..] else {
                    return Err(format!("`{}` is not a convolution's weight", weight.name));
                };
                let out = out * members;
                if *groups == 0 || channels % groups != 0 || out % groups != 0 || channels / groups != depth {
                    return Err(format!(
                        "{channels} channels in {groups} groups do not fit `{}` of shape {:?}",
                        weight.name, weight.shape
                    ));
                }
                let height = slid(image.height, tall, stride[0], padding[0], *dilation)?;
                let width = slid(image.width, wide, stride[1], padding[1], *dilation)?;
                Ok(Image { channels: out, height, width, ..image }.shape())
            }
            Op::MaxPool { kernel, stride, padding } | Op::AvgPool { kernel, stride, padding } => {
                let image = Image::of(input)?;
                let height = slid(image.height, *kernel, *stride, *padding, 1)?;
                let width = slid(image.width, *kernel, *stride, *padding, 1)?;
                Ok(Image { height, width, ..image }.shape())
            }
            Op::Shift => {
                let image = Image::of(input)?;
                // An even extent loses its first row; an odd one gets a row of zeros for it.
                let shifted = |extent: usize| extent.saturating_sub(1) + extent % 2;
                Ok(Image { height: shifted(image.height), width: shifted(image.width), ..image }.shape())
            }
            Op::Subsample { factor } => {
                let image = Image::of(input)?;
                if *factor == 0 {
                    return Err("a factor of 0".to_string());
                }
                let (height, width) = (image.height.div_ceil(*factor), image.width.div_ceil(*factor));
                Ok(Image { height, width, ..image }.shape())
            }
            Op::SpaceToBatch { factor } => {
                let image = Image::of(input)?;
                let divides = |extent: usize| *factor > 0 && extent.is_multiple_of(*factor);
                if image.phases.is_some() || !divides(image.height) || !divides(image.width) {
                    return Err(format!("{:?} cannot be split into phases of {factor}", input.0));
                }
                let (height, width) = (image.height / factor, image.width / factor);
                Ok(Image { phases: Some(factor * factor), height, width, ..image }.shape())
            }
            Op::BatchToSpace { factor } => {
                let image = Image::of(input)?;
                if image.phases != Some(factor * factor) {
                    return Err(format!("{:?} is not split into phases of {factor}", input.0));
                }
                let (height, width) = (image.height * factor, image.width * factor);
                Ok(Image { phases: None, height, width, ..image }.shape())
            }
            Op::Repeat { times } => {
                let image = Image::of(input)?;
                Ok(Image { channels: image.channels * times, ..image }.shape())
            }
            Op::Slice { index, of } => {
                let image = Image::of(input)?;
                if index >= of || image.channels % of != 0 {
                    return Err(format!("{} channels have no block {index} of {of}", image.channels));
                }
                Ok(Image { channels: image.channels / of, ..image }.shape())
            }
            Op::Mixtures { rows, columns, .. } => {
                let image = Image::of(input)?;
                if rows.is_empty() || image.phases != Some(columns.len()) {
                    return Err(format!("{:?} is not a stack of {}", input.0, columns.len()));
                }
                Ok(Image { phases: Some(rows.len()), ..image }.shape())
            }
            Op::Unstack { index, of } if input.0.len() == 2 => match input.0[..] {
                [phases, features] if phases == *of && index < of => Ok(Shape(vec![features])),
                _ => Err(format!("{:?} has no value {index} of {of}", input.0)),
            },
            Op::Unstack { index, of } => {
                let image = Image::of(input)?;
                if index >= of || image.phases != Some(*of) {
                    return Err(format!("{:?} has no value {index} of {of}", input.0));
                }
                Ok(Image { phases: None, ..image }.shape())
            }
            Op::Lookup { weight } => match (&input.0[..], weights.get(weight.0).map(|weight| &weight.shape[..])) {
                ([], Some([_, units])) => Ok(Shape(vec![*units])),
                _ => Err(format!("{:?} is not a token, or nothing to look it up in", input.0)),
            },
            Op::Product { weight, rows: (first, count) } => {
                let weight = weights.get(weight.0).ok_or("a weight that does not exist")?;
                let [depth, out] = weight.shape[..] else {
                    return Err(format!("`{}` is not a matrix", weight.name));
                };
                let (phases, features) = match input.0[..] {
                    [features] => (None, features),
                    [phases, features] => (Some(phases), features),
                    _ => return Err(format!("{:?} is not [features]", input.0)),
                };
                if first + count > depth || features != *count {
                    return Err(format!(
                        "{features} features do not fit rows {first} to {} of `{}`, which has {depth}",
                        first + count,
                        weight.name
                    ));
                }
                Ok(Shape(phases.into_iter().chain([out]).collect()))
            }
            Op::GlobalAvgPool => match input.0[..] {
                [channels, _, _] => Ok(Shape(vec![channels])),
                _ => Err(format!("{:?} is not [channels, height, width]", input.0)),
            },
            Op::Linear { weight, .. } => {
                let weight = weights.get(weight.0).ok_or("a weight that does not exist")?;
                match (&weight.shape[..], &input.0[..]) {
                    ([out, features], [given]) if features == given => Ok(Shape(vec![*out])),
                    _ => Err(format!("{:?} does not fit `{}` of shape {:?}", input.0, weight.name, weight.shape)),
                }
            }
            Op::BatchNorm { .. }
            | Op::Relu
            | Op::Mask { .. }
            | Op::Gate { .. }
            | Op::Gates { .. }
            | Op::Mean
            | Op::Concat { .. }
            | Op::Stack
            | Op::Mix { .. }
            | Op::Add
            | Op::Accumulate => Ok(input.clone()),
        }
    }
}

/// The extents of an image.
#[derive(Clone, Copy, PartialEq)]
struct Image {
    phases: Option<usize>,
    channels: usize,
    height: usize,
    width: usize,
}

impl Image {
    /// Another shape is refused.
    fn of(shape: &Shape) -> Result<Image, String> {
        match shape.0[..] {
            [channels, height, width] => Ok(Image { phases: None, channels, height, width }),
            [phases, channels, height, width] => Ok(Image { phases: Some(phases), channels, height, width }),
            _ => Err(format!("{:?} is not [channels, height, width]", shape.0)),
        }
    }

    fn shape(self) -> Shape {
        Shape(self.phases.into_iter().chain([self.channels, self.height, self.width]).collect())
    }
}

/// The places a kernel of extent `kernel` takes in an extent.
fn slid(extent: usize, kernel: usize, stride: usize, padding: usize, dilation: usize) -> Result<usize, String> {
    let padded = extent + 2 * padding;
    let reach = dilation * kernel.saturating_sub(1) + 1;
    if extent == 0 || kernel == 0 || stride == 0 || padded < reach {
        return Err(format!("a window of {reach} does not fit {extent} with padding {padding}"));
    }
    Ok((padded - reach) / stride + 1)
}

/// A state and [c, u] of twice as many features.
fn gate(inputs: &[&Shape]) -> Result<Shape, String> {
    match inputs.iter().map(|shape| &shape.0[..]).collect::<Vec<_>>()[..] {
        [[units], [double]] if 2 * units == *double => Ok(Shape(vec![*units])),
        [[states, units], [others, double]] if states == others && 2 * units == *double => {
            Ok(Shape(vec![*states, *units]))
        }
        _ => Err(format!("{inputs:?} are not states and what gates them")),
    }
}

fn concat(inputs: &[&Shape], blocks: usize) -> Result<Shape, String> {
    if blocks == 1 && !inputs.is_empty() && inputs.iter().all(|shape| shape.0.len() == 1) {
        return Ok(Shape(vec![inputs.iter().map(|shape| shape.channels()).sum()]));
    }
    let images = inputs.iter().map(|shape| Image::of(shape)).collect::<Result<Vec<_>, _>>()?;
    let Some(first) = images.first().copied() else {
        return Err("nothing to concatenate".to_string());
    };
    if images.iter().any(|other| Image { channels: first.channels, ..*other } != first) {
        return Err("images of different sizes cannot be concatenated".to_string());
    }
    if images.iter().any(|image| blocks == 0 || image.channels % blocks != 0) {
        return Err(format!("channels that do not part into {blocks} blocks"));
    }
    Ok(Image { channels: images.iter().map(|image| image.channels).sum(), ..first }.shape())
}

fn stack(inputs: &[&Shape]) -> Result<Shape, String> {
    let alike = mix(inputs, inputs.len())?;
    if let [features] = alike.0[..] {
        return Ok(Shape(vec![inputs.len(), features]));
    }
    let image = Image::of(&alike)?;
    match image.phases {
        None => Ok(Image { phases: Some(inputs.len()), ..image }.shape()),
        Some(_) => Err("what is stacked or split is not stacked again".to_string()),
    }
}

fn mix(inputs: &[&Shape], terms: usize) -> Result<Shape, String> {
    let Some(first) = inputs.first() else {
        return Err("nothing to mix".to_string());
    };
    if inputs.len() != terms {
        return Err(format!("{} inputs for {terms} terms", inputs.len()));
    }
    if inputs.iter().any(|shape| shape != first) {
        return Err("values of different shapes cannot be mixed".to_string());
    }
    Ok((*first).clone())
}

fn sum(inputs: &[&Shape]) -> Result<Shape, String> {
    match inputs {
        [one, other] if one == other => Ok((*one).clone()),
        [_, _] => Err("values of different shapes cannot be added".to_string()),
        _ => Err(format!("{} inputs instead of two", inputs.len())),
    }
}
