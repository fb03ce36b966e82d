//! Micro-batches, for batches that do not fit into memory: the gradient of a mean over a batch is the mean of the
//! micro-batches' gradients. Batch norm normalises each micro-batch by its own statistics.

use tch::Tensor;

use crate::data::Batch;
use crate::error::{Error, Result};
use crate::nn::gradients::add;
use crate::nn::{Gradients, Loss, Mode, Statistics};

/// Divides a batch into micro-batches of at most `most` examples, whose sizes differ by at most one. Each comes with
/// its share of the batch. None if one micro-batch is enough.
fn divide(batch: &Batch, most: Option<usize>) -> Result<Option<Vec<(Batch, f64)>>> {
    let examples = batch.targets.size()[0];
    let most = most.map_or(examples, |most| most as i64).max(1);
    let count = (examples + most - 1) / most;
    if count < 2 {
        return Ok(None);
    }
    let micro_batch = |index: i64| {
        let (start, end) = (index * examples / count, (index + 1) * examples / count);
        let slice = |tensor: &Tensor| tensor.f_narrow(0, start, end - start);
        Ok((Batch::new(slice(&batch.inputs)?, slice(&batch.targets)?), (end - start) as f64 / examples as f64))
    };
    (0..count).map(micro_batch).collect::<Result<_>>().map(Some)
}

/// The loss and gradients of a batch from those of its micro-batches. Running statistics move once, by the mean over
/// the micro-batches.
pub fn gradients(
    batch: &Batch,
    most: Option<usize>,
    mode: Mode,
    statistics: &Statistics,
    compute: impl Fn(&Batch) -> Result<Gradients>,
) -> Result<Gradients> {
    let Some(micro_batches) = divide(batch, most)? else { return compute(batch) };
    let moves = mode == Mode::Weights;
    let before = moves.then(|| statistics.remember()).transpose()?;
    let mut after: [Option<Tensor>; 2] = [None, None];
    let mut sum: Option<Gradients> = None;
    for (micro_batch, share) in &micro_batches {
        let found = compute(micro_batch)?.times(*share)?;
        sum = Some(match sum {
            Some(sum) => sum.plus(found)?,
            None => found,
        });
        if let Some((mean, variance)) = &before {
            for (sum, (running, before)) in after.iter_mut().zip(statistics.vectors().into_iter().zip([mean, variance]))
            {
                add(sum, Some(running.f_mul_scalar(*share)?))?;
                running.f_data()?.f_copy_(before)?;
            }
        }
    }
    for (running, moved) in statistics.vectors().into_iter().zip(after) {
        if let Some(moved) = moved {
            running.f_data()?.f_copy_(&moved)?;
        }
    }
    sum.ok_or_else(|| Error::engine("a batch was divided into no micro-batches"))
}

/// A vector that is a mean over the examples of a batch, from those of its micro-batches.
pub fn mean(batch: &Batch, most: Option<usize>, compute: impl Fn(&Batch) -> Result<Tensor>) -> Result<Tensor> {
    let Some(micro_batches) = divide(batch, most)? else { return compute(batch) };
    let mut sum = None;
    for (micro_batch, share) in &micro_batches {
        add(&mut sum, Some(compute(micro_batch)?.f_mul_scalar(*share)?))?;
    }
    sum.ok_or_else(|| Error::engine("a batch was divided into no micro-batches"))
}

impl Gradients {
    fn times(self, factor: f64) -> Result<Self> {
        let by = |tensor: Tensor| Ok::<_, Error>(tensor.f_mul_scalar(factor)?);
        let loss = Loss { value: by(self.loss.value)?, ..self.loss };
        Ok(Gradients { loss, alpha: self.alpha.map(by).transpose()?, w: self.w.map(by).transpose()? })
    }

    fn plus(self, other: Gradients) -> Result<Self> {
        let sum = |mut one: Option<Tensor>, other: Option<Tensor>| -> Result<_> {
            add(&mut one, other)?;
            Ok(one)
        };
        let loss = Loss {
            value: self.loss.value.f_add(&other.loss.value)?,
            correct: sum(self.loss.correct, other.loss.correct)?,
            carried: None,
        };
        Ok(Gradients { loss, alpha: sum(self.alpha, other.alpha)?, w: sum(self.w, other.w)? })
    }
}
