//! The shape each operation makes of its inputs' shapes; the one place that knows, for lowering and for checking.

use super::{Op, Shape, WeightSpec};

impl Op {
    /// The shape of the output, or why there is none.
    pub(super) fn output_shape(&self, inputs: &[&Shape], weights: &[WeightSpec]) -> Result<Shape, String> {
        match self {
            Op::Concat => concat(inputs),
            Op::Mix { terms, .. } => mix(inputs, terms.len()),
            Op::Zeros => Err("zeros carry their own shape".to_string()),
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
            Op::Conv { weight, stride, padding, dilation, groups } => {
                let [channels, height, width] = image(input)?;
                let weight = weights.get(weight.0).ok_or("a weight that does not exist")?;
                let [out, depth, tall, wide] = weight.shape[..] else {
                    return Err(format!("`{}` is not a convolution's weight", weight.name));
                };
                if *groups == 0 || channels % groups != 0 || out % groups != 0 || channels / groups != depth {
                    return Err(format!(
                        "{channels} channels in {groups} groups do not fit `{}` of shape {:?}",
                        weight.name, weight.shape
                    ));
                }
                let height = slid(height, tall, stride[0], padding[0], *dilation)?;
                let width = slid(width, wide, stride[1], padding[1], *dilation)?;
                Ok(Shape(vec![out, height, width]))
            }
            Op::MaxPool { kernel, stride, padding } | Op::AvgPool { kernel, stride, padding } => {
                let [channels, height, width] = image(input)?;
                let height = slid(height, *kernel, *stride, *padding, 1)?;
                let width = slid(width, *kernel, *stride, *padding, 1)?;
                Ok(Shape(vec![channels, height, width]))
            }
            Op::Shift => {
                let [channels, height, width] = image(input)?;
                // An even extent loses its first row; an odd one gets a row of zeros for it.
                let shifted = |extent: usize| extent.saturating_sub(1) + extent % 2;
                Ok(Shape(vec![channels, shifted(height), shifted(width)]))
            }
            Op::GlobalAvgPool => image(input).map(|[channels, ..]| Shape(vec![channels])),
            Op::Linear { weight, .. } => {
                let weight = weights.get(weight.0).ok_or("a weight that does not exist")?;
                match (&weight.shape[..], &input.0[..]) {
                    ([out, features], [given]) if features == given => Ok(Shape(vec![*out])),
                    _ => Err(format!("{:?} does not fit `{}` of shape {:?}", input.0, weight.name, weight.shape)),
                }
            }
            Op::BatchNorm { .. } | Op::Relu | Op::Concat | Op::Mix { .. } | Op::Zeros => Ok(input.clone()),
        }
    }
}

/// The extents of an image; another shape is refused.
fn image(shape: &Shape) -> Result<[usize; 3], String> {
    shape.0[..].try_into().map_err(|_| format!("{:?} is not [channels, height, width]", shape.0))
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

fn concat(inputs: &[&Shape]) -> Result<Shape, String> {
    let images = inputs.iter().map(|shape| image(shape)).collect::<Result<Vec<_>, _>>()?;
    let Some([_, height, width]) = images.first().copied() else {
        return Err("nothing to concatenate".to_string());
    };
    if images.iter().any(|[_, other_height, other_width]| (*other_height, *other_width) != (height, width)) {
        return Err("images of different sizes cannot be concatenated".to_string());
    }
    Ok(Shape(vec![images.iter().map(|[channels, ..]| channels).sum(), height, width]))
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
