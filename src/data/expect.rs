//! The checks that every batch passes before a network reads it.

use tch::{Device, Kind, Tensor};

use super::{Batch, Layout};
use crate::error::{Error, Result};
use crate::plan::{Plan, Sizes};

/// What a network expects of a batch.
#[derive(Debug, Clone)]
pub enum Expected {
    /// Images or sequences with one label each, or with other targets that a loss reads.
    Images {
        /// The shape of one image, [C, H, W], or sequence, [C, L].
        shape: Vec<i64>,
        /// Labels are in 0..classes.
        classes: i64,
        /// The dtype of the network.
        kind: Kind,
        /// The device of the network.
        device: Device,
    },
    /// Tokens, each with the next token as its target.
    Words {
        /// Tokens are in 0..words.
        words: i64,
        /// Tokens per segment at the full learning rate.
        bptt: usize,
        /// The device of the network.
        device: Device,
    },
    /// Any tensors of a user, which Python checks.
    Tensors {
        /// The dtype of floating tensors.
        kind: Kind,
        /// The device of the network.
        device: Device,
    },
}

impl Expected {
    /// What the network of `plan` expects, in `kind` on `device`; `bptt` is the length of a full text segment.
    pub fn of_plan(plan: &Plan, bptt: usize, kind: Kind, device: Device) -> Self {
        match plan.sizes {
            Sizes::Images(geometry) => Expected::Images {
                shape: plan.example_shape().into_iter().map(|n| n as i64).collect(),
                classes: geometry.num_classes as i64,
                kind,
                device,
            },
            Sizes::Words(language) => Expected::Words { words: language.words as i64, bptt, device },
        }
    }

    /// Checks a batch and moves it to the network's dtype and device. `what` names it in errors, as in "the training
    /// batch".
    pub fn admit(&self, inputs: &Tensor, targets: &Tensor, what: &str) -> Result<Batch> {
        match self {
            Expected::Images { shape, classes, .. } => {
                check_images(inputs, shape, what)?;
                let count = inputs.size()[0];
                if targets.is_floating_point() && targets.size() == [count, *classes] {
                    check_finite(targets, what)?;
                } else if targets.size() == [count] {
                    check_labels(targets, *classes, what)?;
                } else {
                    return Err(Error::data(format!(
                        "{what} has {count} inputs and targets of shape {:?}; expected one label per example, or                          class probabilities of shape [{count}, {classes}]",
                        targets.size()
                    )));
                }
                check_finite(inputs, what)?;
            }
            Expected::Words { words, .. } => {
                let (size, after) = (inputs.size(), targets.size());
                if size.len() != 2 || after != size {
                    return Err(Error::data(format!(
                        "{what} has tokens of shape {size:?} and next tokens of shape {after:?}; both must be \
                         [tokens, batch]"
                    )));
                }
                check_tokens(inputs, *words, what)?;
                check_tokens(targets, *words, what)?;
            }
            Expected::Tensors { .. } => return Err(Error::engine("a user's batch is not a pair of tensors")),
        }
        self.place(inputs, targets)
    }

    /// Moves a batch to the network's dtype and device without looking at its values.
    pub fn place(&self, inputs: &Tensor, targets: &Tensor) -> Result<Batch> {
        match self {
            Expected::Images { kind, device, .. } => {
                // A loss may read targets of any kind, such as booleans; labels of any width are int64.
                let target_kind = match targets.f_kind()? {
                    _ if targets.is_floating_point() => *kind,
                    other if other == Kind::Bool || targets.dim() != 1 => other,
                    _ => Kind::Int64,
                };
                Ok(Batch::new(moved(inputs, *device, *kind)?, moved(targets, *device, target_kind)?))
            }
            Expected::Words { bptt, device, .. } => {
                let rate_scale = inputs.size().first().copied().unwrap_or(0) as f64 / *bptt as f64;
                let (inputs, targets) = (moved(inputs, *device, Kind::Int64)?, moved(targets, *device, Kind::Int64)?);
                Ok(Batch { begins: false, rate_scale, ..Batch::new(inputs, targets) })
            }
            Expected::Tensors { .. } => Err(Error::engine("a user's batch is not a pair of tensors")),
        }
    }

    /// Moves the tensors of a user's batch to the device, and floating ones to the network's dtype.
    pub fn gather(&self, tensors: &[Tensor], layout: Layout) -> Result<Batch> {
        let Expected::Tensors { kind, device } = self else {
            return Err(Error::engine("the network expects a pair of tensors"));
        };
        let place =
            |tensor: &Tensor| moved(tensor, *device, if tensor.is_floating_point() { *kind } else { tensor.f_kind()? });
        Batch::of_tensors(tensors.iter().map(place).collect::<Result<_>>()?, layout)
    }
}

/// Checks that images are floating and of shape [N, C, H, W], sequences of shape [N, C, L].
fn check_images(inputs: &Tensor, shape: &[i64], what: &str) -> Result<()> {
    let size = inputs.size();
    if size.len() != shape.len() + 1 || size[1..] != *shape {
        let shape: Vec<String> = shape.iter().map(ToString::to_string).collect();
        return Err(Error::data(format!(
            "{what} has inputs of shape {size:?}; expected [batch, {}], as in the first batch",
            shape.join(", ")
        )));
    }
    match inputs.f_kind()? {
        Kind::Float | Kind::Double | Kind::Half | Kind::BFloat16 => Ok(()),
        kind => Err(Error::data(format!(
            "{what} has inputs of dtype {kind:?}; they must be floating (uint8 images must be scaled)"
        ))),
    }
}

/// Checks that no value is NaN or infinite.
fn check_finite(inputs: &Tensor, what: &str) -> Result<()> {
    match inputs.f_isfinite()?.f_all()?.f_int64_value(&[])? {
        0 => Err(Error::data(format!("{what} holds NaN or infinity; clean the images before the search"))),
        _ => Ok(()),
    }
}

/// Moves a tensor to a device and dtype, outside any graph. A copy to a GPU is asynchronous.
fn moved(tensor: &Tensor, device: Device, kind: Kind) -> Result<Tensor> {
    Ok(tensor.f_detach()?.f_to_device_(device, kind, device.is_cuda(), false)?)
}

/// Checks that tokens are integers in 0..words.
pub fn check_tokens(tokens: &Tensor, words: i64, what: &str) -> Result<()> {
    check_whole(tokens, words, what, ["token", "words", "tokens must be integers"])
}

/// Checks that labels are integers in 0..classes.
pub fn check_labels(targets: &Tensor, classes: i64, what: &str) -> Result<()> {
    let advice = "labels must be integers (y.long(), or y.astype('int64'))";
    check_whole(targets, classes, what, ["label", "num_classes", advice])
}

/// Checks that `numbers` are integers in 0..count. The texts are the name of a number, the name of `count`, and the
/// advice for other dtypes.
fn check_whole(numbers: &Tensor, count: i64, what: &str, [name, of, advice]: [&str; 3]) -> Result<()> {
    let kind = numbers.f_kind()?;
    if !matches!(kind, Kind::Int64 | Kind::Int | Kind::Int16 | Kind::Int8 | Kind::Uint8) {
        return Err(Error::data(format!("{what} has {name}s of dtype {kind:?}; {advice}")));
    }
    if numbers.numel() == 0 {
        return Err(Error::data(format!("{what} is empty")));
    }
    let low = numbers.f_min()?.f_int64_value(&[])?;
    let high = numbers.f_max()?.f_int64_value(&[])?;
    if low < 0 || high >= count {
        let wrong = if low < 0 { low } else { high };
        return Err(Error::data(format!(
            "{what} has {name} {wrong}; with {of}={count}, {name}s must be in [0, {}]",
            count - 1
        )));
    }
    Ok(())
}
