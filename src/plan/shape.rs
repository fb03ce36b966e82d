//! Shape inference: the output shape of each operation, for lowering, passes and checks.

use super::{By, Op, Shape, WeightSpec};

impl Op {
    /// The shape of the output, or the reason why the operation does not fit its inputs.
    pub(super) fn output_shape(&self, inputs: &[&Shape], weights: &[WeightSpec]) -> Result<Shape, String> {
        match self {
            Op::Bias { weight } => biased(one(inputs)?, weights.get(weight.0)),
            Op::BatchNorm { .. } | Op::Relu | Op::Mask { .. } | Op::Drop { .. } => Ok(one(inputs)?.clone()),
            Op::Conv { weight, members, stride, padding, dilation, groups } => {
                let kernel = Kernel::of(weights.get(weight.0), *members, *groups)?;
                kernel.convolve(Image::of(one(inputs)?)?, *stride, *padding, *dilation)
            }
            Op::MaxPool { kernel, stride, padding, ceil: true }
            | Op::AvgPool { kernel, stride, padding, ceil: true, .. } => {
                covered(one(inputs)?, [*kernel, *stride, *padding])
            }
            Op::MaxPool { kernel, stride, padding, .. } | Op::AvgPool { kernel, stride, padding, .. } => {
                let image = Image::of(one(inputs)?)?;
                image.resized(|axis, extent| slid(extent, kernel[axis], stride[axis], padding[axis], 1))
            }
            Op::Pad { left, .. } => Image::of(one(inputs)?)?.resized(|axis, extent| Ok(extent + axis * left)),
            Op::Shift { by } => Image::of(one(inputs)?)?.resized(|axis, extent| match by[axis] {
                // An even extent loses its first row; an odd one gets a row of zeros for it.
                By::Next => Ok(extent.saturating_sub(1) + extent % 2),
                By::Nothing | By::Following | By::Previous => Ok(extent),
            }),
            Op::Own { stride, .. } | Op::Noise { stride } => strided(one(inputs)?, *stride),
            Op::Subsample { factors } if factors.contains(&0) => Err("a factor of 0".to_string()),
            Op::Subsample { factors } => {
                Image::of(one(inputs)?)?.resized(|axis, extent| Ok(extent.div_ceil(factors[axis])))
            }
            Op::SpaceToBatch { factors } => space_to_batch(Image::of(one(inputs)?)?, *factors),
            Op::BatchToSpace { factors } => batch_to_space(Image::of(one(inputs)?)?, *factors),
            Op::Repeat { times } => {
                let image = Image::of(one(inputs)?)?;
                Ok(Image { channels: image.channels * times, ..image }.shape())
            }
            Op::Slice { index, of } => {
                let image = Image::of(one(inputs)?)?;
                if index >= of || !image.channels.is_multiple_of(*of) {
                    return Err(format!("{} channels have no block {index} of {of}", image.channels));
                }
                Ok(Image { channels: image.channels / of, ..image }.shape())
            }
            Op::Cut { at, rest } => {
                let image = Image::of(one(inputs)?)?;
                if *at == 0 || *at >= image.channels {
                    return Err(format!("{} channels cannot be divided at channel {at}", image.channels));
                }
                Ok(Image { channels: if *rest { image.channels - at } else { *at }, ..image }.shape())
            }
            Op::Shuffle { by } => match Image::of(one(inputs)?)? {
                image if (1..=image.channels).contains(by) => Ok(image.shape()),
                image => Err(format!("{} channels cannot be ordered by {by}", image.channels)),
            },
            Op::Concat { blocks } => concat(inputs, *blocks),
            Op::Stack => stack(inputs),
            Op::Unstack { index, of } => unstack(one(inputs)?, *index, *of),
            Op::Mix { terms, .. } => equal(inputs, terms.len()),
            Op::Mixtures { rows, columns, .. } => {
                let image = Image::of(one(inputs)?)?;
                if rows.is_empty() || image.phases != Some(columns.len()) {
                    return Err(format!("{} is not a stack of {}", image.shape(), columns.len()));
                }
                Ok(Image { phases: Some(rows.len()), ..image }.shape())
            }
            Op::Mean => equal(inputs, inputs.len()),
            Op::Add | Op::Accumulate => equal(inputs, 2),
            Op::Gate { .. } => gate(inputs),
            Op::Gates { rows, columns, .. } => match gate(inputs)?.0[..] {
                [states, units] if states == rows.len() && !columns.is_empty() => Ok(Shape(vec![units])),
                _ => Err(format!("{} rows do not fit inputs of {}", rows.len(), list(inputs))),
            },
            Op::GlobalAvgPool => averaged(one(inputs)?),
            Op::Lookup { weight } => match (&one(inputs)?.0[..], matrix(weights.get(weight.0))?) {
                ([], (_, units)) => Ok(Shape(vec![units])),
                _ => Err(format!("{} is not a token", list(inputs))),
            },
            Op::Product { weight, rows } => product(one(inputs)?, matrix(weights.get(weight.0))?, *rows),
            Op::Linear { weight, .. } => match (matrix(weights.get(weight.0))?, &one(inputs)?.0[..]) {
                ((out, features), [given]) if features == *given => Ok(Shape(vec![out])),
                ((_, features), _) => Err(format!("{} is not [{features}]", list(inputs))),
            },
        }
    }
}

/// An image whose extents are divided by a stride and rounded up.
fn strided(input: &Shape, stride: usize) -> Result<Shape, String> {
    match stride {
        0 => Err("a stride of 0".to_string()),
        stride => Image::of(input)?.resized(|_, extent| Ok(extent.div_ceil(stride))),
    }
}

/// The mean over all positions.
fn averaged(input: &Shape) -> Result<Shape, String> {
    match input.0[..] {
        [channels, _, _] => Ok(Shape(vec![channels])),
        _ => Err(format!("{input} is not [channels, height, width]")),
    }
}

/// An input plus a number per channel.
fn biased(input: &Shape, bias: Option<&WeightSpec>) -> Result<Shape, String> {
    match bias.map(|bias| &bias.shape[..]) {
        Some([width]) if *width == input.channels() => Ok(input.clone()),
        _ => Err(format!("a bias does not fit {} channels", input.channels())),
    }
}

/// Windows that cover an image; the last ones may reach past its end.
fn covered(input: &Shape, [kernel, stride, padding]: [[usize; 2]; 3]) -> Result<Shape, String> {
    let outside = |axis: usize| padding[axis] > 0 || kernel[axis] != stride[axis];
    if (0..2).any(outside) {
        return Err("windows that reach past the end must cover an image without padding".to_string());
    }
    Image::of(input)?.resized(|axis, extent| Ok(extent.div_ceil(stride[axis])))
}

/// The only input.
fn one<'a>(inputs: &[&'a Shape]) -> Result<&'a Shape, String> {
    match inputs {
        [input] => Ok(input),
        _ => Err(format!("expected one input, got {}", inputs.len())),
    }
}

/// Shapes for error messages.
fn list(shapes: &[&Shape]) -> String {
    let shapes: Vec<String> = shapes.iter().map(|shape| format!("{:?}", shape.0)).collect();
    shapes.join(", ")
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
    /// The extents of a shape; other shapes are refused.
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

    /// The image with another height and width, each computed from the axis, 0 or 1, and its extent.
    fn resized(self, resize: impl Fn(usize, usize) -> Result<usize, String>) -> Result<Shape, String> {
        Ok(Image { height: resize(0, self.height)?, width: resize(1, self.width)?, ..self }.shape())
    }
}

/// The extents of a convolution's kernel.
struct Kernel<'a> {
    name: &'a str,
    out: usize,
    /// Input channels per group.
    depth: usize,
    size: [usize; 2],
    groups: usize,
}

impl<'a> Kernel<'a> {
    /// The kernel that `members` weights of one shape make.
    fn of(weight: Option<&'a WeightSpec>, members: usize, groups: usize) -> Result<Self, String> {
        let weight = weight.ok_or("a weight that does not exist")?;
        match weight.kernel() {
            Some([out, depth, tall, wide]) => {
                Ok(Kernel { name: &weight.name, out: out * members, depth, size: [tall, wide], groups })
            }
            None => Err(format!("`{}` is not the weight of a convolution", weight.name)),
        }
    }

    fn convolve(
        &self,
        image: Image,
        stride: [usize; 2],
        padding: [usize; 2],
        dilation: usize,
    ) -> Result<Shape, String> {
        let Kernel { name, out, depth, size: [tall, wide], groups } = *self;
        let channels = image.channels;
        if groups == 0 || !channels.is_multiple_of(groups) || !out.is_multiple_of(groups) || channels / groups != depth
        {
            return Err(format!(
                "{channels} channels in {groups} groups do not fit `{name}`, which maps {depth} channels per group to \
                 {out}"
            ));
        }
        let height = slid(image.height, tall, stride[0], padding[0], dilation)?;
        let width = slid(image.width, wide, stride[1], padding[1], dilation)?;
        Ok(Image { channels: out, height, width, ..image }.shape())
    }
}

/// The number of positions of a window in an extent.
fn slid(extent: usize, kernel: usize, stride: usize, padding: usize, dilation: usize) -> Result<usize, String> {
    let padded = extent + 2 * padding;
    let reach = dilation * kernel.saturating_sub(1) + 1;
    if extent == 0 || kernel == 0 || stride == 0 || padded < reach {
        return Err(format!("a window of {reach} does not fit an extent of {extent} with padding {padding}"));
    }
    Ok((padded - reach) / stride + 1)
}

fn space_to_batch(image: Image, [down, across]: [usize; 2]) -> Result<Shape, String> {
    let divides = |extent: usize, factor: usize| factor > 0 && extent.is_multiple_of(factor);
    if image.phases.is_some() || !divides(image.height, down) || !divides(image.width, across) {
        return Err(format!("{} cannot be split into phases of {down}x{across}", image.shape()));
    }
    let (height, width) = (image.height / down, image.width / across);
    Ok(Image { phases: Some(down * across), height, width, ..image }.shape())
}

fn batch_to_space(image: Image, [down, across]: [usize; 2]) -> Result<Shape, String> {
    if image.phases != Some(down * across) {
        return Err(format!("{} is not split into phases of {down}x{across}", image.shape()));
    }
    let (height, width) = (image.height * down, image.width * across);
    Ok(Image { phases: None, height, width, ..image }.shape())
}

/// The extents of a matrix.
fn matrix(weight: Option<&WeightSpec>) -> Result<(usize, usize), String> {
    let weight = weight.ok_or("a weight that does not exist")?;
    match weight.shape[..] {
        [rows, columns] => Ok((rows, columns)),
        _ => Err(format!("`{}` is not a matrix", weight.name)),
    }
}

fn product(input: &Shape, (depth, out): (usize, usize), (first, count): (usize, usize)) -> Result<Shape, String> {
    let (phases, features) = match input.0[..] {
        [features] => (None, features),
        [phases, features] => (Some(phases), features),
        _ => return Err(format!("{:?} is not [features]", input.0)),
    };
    if first + count > depth || features != count {
        let last = first + count;
        return Err(format!("{features} features do not fit rows {first} to {last} of a weight with {depth} rows"));
    }
    Ok(Shape(phases.into_iter().chain([out]).collect()))
}

/// States and their gates [c, u], which have twice as many features.
fn gate(inputs: &[&Shape]) -> Result<Shape, String> {
    match inputs.iter().map(|shape| &shape.0[..]).collect::<Vec<_>>()[..] {
        [[units], [double]] if 2 * units == *double => Ok(Shape(vec![*units])),
        [[states, units], [others, double]] if states == others && 2 * units == *double => {
            Ok(Shape(vec![*states, *units]))
        }
        _ => Err(format!("{} are not states and their gates", list(inputs))),
    }
}

fn concat(inputs: &[&Shape], blocks: usize) -> Result<Shape, String> {
    if blocks == 1 && !inputs.is_empty() && inputs.iter().all(|shape| shape.0.len() == 1) {
        return Ok(Shape(vec![inputs.iter().map(|shape| shape.channels()).sum()]));
    }
    let images = inputs.iter().map(|shape| Image::of(shape)).collect::<Result<Vec<_>, _>>()?;
    let Some(first) = images.first().copied() else {
        return Err("a concatenation without inputs".to_string());
    };
    if images.iter().any(|other| Image { channels: first.channels, ..*other } != first) {
        return Err("images of different sizes cannot be concatenated".to_string());
    }
    if images.iter().any(|image| blocks == 0 || !image.channels.is_multiple_of(blocks)) {
        return Err(format!("the channels of {} cannot be divided into {blocks} blocks", list(inputs)));
    }
    Ok(Image { channels: images.iter().map(|image| image.channels).sum(), ..first }.shape())
}

fn stack(inputs: &[&Shape]) -> Result<Shape, String> {
    let alike = equal(inputs, inputs.len())?;
    if let [features] = alike.0[..] {
        return Ok(Shape(vec![inputs.len(), features]));
    }
    let image = Image::of(&alike)?;
    match image.phases {
        None => Ok(Image { phases: Some(inputs.len()), ..image }.shape()),
        Some(_) => Err("values that are stacked or split cannot be stacked again".to_string()),
    }
}

fn unstack(input: &Shape, index: usize, of: usize) -> Result<Shape, String> {
    match &input.0[..] {
        [stacked, rest @ ..] if *stacked == of && index < of && matches!(rest.len(), 1 | 3) => Ok(Shape(rest.to_vec())),
        _ => Err(format!("{:?} has no value {index} of {of}", input.0)),
    }
}

/// The shape that all inputs have.
fn equal(inputs: &[&Shape], count: usize) -> Result<Shape, String> {
    let Some(first) = inputs.first().filter(|_| inputs.len() == count) else {
        return Err(format!("expected {count} inputs, got {}", inputs.len()));
    };
    if inputs.iter().any(|shape| shape != first) {
        return Err(format!("expected inputs of one shape, got {}", list(inputs)));
    }
    Ok((*first).clone())
}
