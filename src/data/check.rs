//! What a batch must be: one place for every source.

use tch::{Device, Kind, Tensor};

use super::Batch;
use crate::error::{Error, Result};
use crate::plan::{Plan, Sizes};

/// What a network expects of every batch.
#[derive(Debug, Clone)]
pub enum Expected {
    /// Images, and a label each.
    Images {
        /// Of one example: [C, H, W].
        shape: Vec<i64>,
        /// Labels lie in 0..classes.
        classes: i64,
        /// Element type the network computes in.
        kind: Kind,
        /// Where the network computes.
        device: Device,
    },
    /// Tokens, and the token after each.
    Words {
        /// Tokens lie in 0..words.
        words: i64,
        /// Tokens of a full segment, whose learning rate is the whole one.
        bptt: usize,
        /// Where the network computes.
        device: Device,
    },
}

impl Expected {
    /// Of a plan's network that computes in `kind`; `bptt` tokens are a full segment, if it reads any.
    pub fn of_plan(plan: &Plan, bptt: usize, kind: Kind, device: Device) -> Self {
        match plan.sizes {
            Sizes::Images(geometry) => Expected::Images {
                shape: plan.input_shape.0.iter().map(|&n| n as i64).collect(),
                classes: geometry.num_classes as i64,
                kind,
                device,
            },
            Sizes::Words(language) => Expected::Words { words: language.words as i64, bptt, device },
        }
    }

    /// Checks a batch and moves it to dtype and device. `what` names it in errors, as in "training batch 3".
    pub fn admit(&self, inputs: &Tensor, targets: &Tensor, what: &str) -> Result<Batch> {
        match self {
            Expected::Images { shape, classes, kind, device } => {
                check_images(inputs, shape, what)?;
                let count = inputs.size()[0];
                if targets.size() != [count] {
                    return Err(Error::data(format!(
                        "{what} has {count} inputs and targets of shape {:?}; expected one label an example",
                        targets.size()
                    )));
                }
                check_labels(targets, *classes, what)?;
                check_finite(inputs, what)?;
                Ok(Batch::new(moved(inputs, *device, *kind)?, moved(targets, *device, Kind::Int64)?))
            }
            Expected::Words { words, bptt, device } => {
                let (size, after) = (inputs.size(), targets.size());
                if size.len() != 2 || after != size {
                    return Err(Error::data(format!(
                        "{what} has tokens of shape {size:?} and next tokens of shape {after:?}; both must be \
                         [tokens, batch]"
                    )));
                }
                check_tokens(inputs, *words, what)?;
                check_tokens(targets, *words, what)?;
                let (inputs, targets) = (moved(inputs, *device, Kind::Int64)?, moved(targets, *device, Kind::Int64)?);
                Ok(Batch { begins: false, pace: size[0] as f64 / *bptt as f64, ..Batch::new(inputs, targets) })
            }
        }
    }
}

/// Images are floating, and each of the shape [C, H, W].
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

/// No number among them is NaN or infinite.
fn check_finite(inputs: &Tensor, what: &str) -> Result<()> {
    match inputs.f_isfinite()?.f_all()?.f_int64_value(&[])? {
        0 => Err(Error::data(format!("{what} holds NaN or infinity; clean the images before the search"))),
        _ => Ok(()),
    }
}

/// On a device and in a dtype, outside any graph. For a GPU nobody waits: what is read from is kept until it was.
fn moved(tensor: &Tensor, device: Device, kind: Kind) -> Result<Tensor> {
    Ok(tensor.f_detach()?.f_to_device_(device, kind, device.is_cuda(), false)?)
}

/// Tokens are integers in 0..words.
pub fn check_tokens(tokens: &Tensor, words: i64, what: &str) -> Result<()> {
    check_whole(tokens, words, what, ["token", "words", "tokens must be integers"])
}

/// Labels are integers in 0..classes.
pub fn check_labels(targets: &Tensor, classes: i64, what: &str) -> Result<()> {
    let advice = "labels must be integers (y.long(), or y.astype('int64'))";
    check_whole(targets, classes, what, ["label", "num_classes", advice])
}

/// Whole numbers below `count`, called by a name; what `count` is called; what to do about other numbers.
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
            "{what} has {name} {wrong}; with {of}={count} {name}s lie in 0..={}",
            count - 1
        )));
    }
    Ok(())
}
