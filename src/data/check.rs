//! What a batch must be: one place for every source.

use tch::{Device, Kind, Tensor};

use super::Batch;
use crate::error::{Error, Result};

/// Shape, classes and placement that a network expects of every batch.
#[derive(Debug, Clone)]
pub struct Expected {
    /// Of one example: [C, H, W].
    pub shape: Vec<i64>,
    /// Labels lie in 0..classes.
    pub classes: i64,
    /// Element type the network computes in.
    pub kind: Kind,
    /// Where the network computes.
    pub device: Device,
}

impl Expected {
    /// Checks a batch and moves it to dtype and device. `what` names it in errors, as in "training batch 3".
    pub fn admit(&self, inputs: &Tensor, targets: &Tensor, what: &str) -> Result<Batch> {
        let size = inputs.size();
        if size.len() != self.shape.len() + 1 || size[1..] != self.shape {
            let shape: Vec<String> = self.shape.iter().map(ToString::to_string).collect();
            return Err(Error::data(format!(
                "{what} has inputs of shape {size:?}; expected [batch, {}], as in the first batch",
                shape.join(", ")
            )));
        }
        let kind = inputs.f_kind()?;
        if !matches!(kind, Kind::Float | Kind::Double | Kind::Half | Kind::BFloat16) {
            return Err(Error::data(format!(
                "{what} has inputs of dtype {kind:?}; they must be floating (uint8 images must be scaled)"
            )));
        }
        if targets.size() != [size[0]] {
            return Err(Error::data(format!(
                "{what} has {} inputs and targets of shape {:?}; expected one label an example",
                size[0],
                targets.size()
            )));
        }
        check_labels(targets, self.classes, what)?;
        let finite = inputs.f_isfinite()?.f_all()?.f_int64_value(&[])? != 0;
        if !finite {
            return Err(Error::data(format!("{what} holds NaN or infinity; clean the images before the search")));
        }
        let inputs = moved(inputs, self.device, self.kind)?;
        Ok(Batch::new(inputs, moved(targets, self.device, Kind::Int64)?))
    }
}

/// Checks tokens and the tokens after them, [tokens, batch] both, and moves them to the device.
pub fn admit_tokens(inputs: &Tensor, targets: &Tensor, words: i64, device: Device, what: &str) -> Result<Batch> {
    let (size, after) = (inputs.size(), targets.size());
    if size.len() != 2 || after != size {
        return Err(Error::data(format!(
            "{what} has tokens of shape {size:?} and next tokens of shape {after:?}; both must be [tokens, batch]"
        )));
    }
    check_tokens(inputs, words, what)?;
    check_tokens(targets, words, what)?;
    Ok(Batch::new(moved(inputs, device, Kind::Int64)?, moved(targets, device, Kind::Int64)?))
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
