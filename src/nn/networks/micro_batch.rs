//! Batches taken in parts, where a whole one does not fit into memory: the gradient of a mean over a batch is the mean
//! of its parts' gradients. Batch norm sees a part at a time: with it, the sum is that of a network whose statistics
//! are per part.

use tch::Tensor;

use crate::data::Batch;
use crate::error::{Error, Result};
use crate::nn::gradients::add;
use crate::nn::{Gradients, Loss, Mode, Statistics};

/// A batch in equal parts of at most so many examples (one fewer in some where they do not divide), each with its
/// share of the whole; none where one part is enough.
fn parts(batch: &Batch, most: Option<usize>) -> Result<Option<Vec<(Batch, f64)>>> {
    let examples = batch.targets.size()[0];
    let most = most.map_or(examples, |most| most as i64).max(1);
    let count = (examples + most - 1) / most;
    if count < 2 {
        return Ok(None);
    }
    let part = |index: i64| {
        let (start, end) = (index * examples / count, (index + 1) * examples / count);
        let of = |tensor: &Tensor| tensor.f_narrow(0, start, end - start);
        let part = Batch::new(of(&batch.inputs)?, of(&batch.targets)?);
        Ok((part, (end - start) as f64 / examples as f64))
    };
    (0..count).map(part).collect::<Result<_>>().map(Some)
}

/// Loss and gradients of a batch from those of its parts. Running statistics move once, by the mean over the parts.
pub fn gradients(
    batch: &Batch,
    most: Option<usize>,
    mode: Mode,
    statistics: &Statistics,
    of_part: impl Fn(&Batch) -> Result<Gradients>,
) -> Result<Gradients> {
    let Some(parts) = parts(batch, most)? else { return of_part(batch) };
    let moves = mode == Mode::Weights;
    let before = moves.then(|| statistics.remember()).transpose()?;
    let mut after: [Option<Tensor>; 2] = [None, None];
    let mut sum: Option<Gradients> = None;
    for (part, share) in &parts {
        let found = of_part(part)?.times(*share)?;
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
    sum.ok_or_else(|| Error::engine("a batch without parts"))
}

/// A vector that is a mean over the examples of a batch, from those of its parts.
pub fn mean(batch: &Batch, most: Option<usize>, of_part: impl Fn(&Batch) -> Result<Tensor>) -> Result<Tensor> {
    let Some(parts) = parts(batch, most)? else { return of_part(batch) };
    let mut sum = None;
    for (part, share) in &parts {
        add(&mut sum, Some(of_part(part)?.f_mul_scalar(*share)?))?;
    }
    sum.ok_or_else(|| Error::engine("a batch without parts"))
}

impl Gradients {
    fn times(self, factor: f64) -> Result<Self> {
        let by = |tensor: Tensor| Ok::<_, Error>(tensor.f_mul_scalar(factor)?);
        let loss = Loss { value: by(self.loss.value)?, ..self.loss };
        Ok(Gradients { loss, of_alpha: self.of_alpha.map(by).transpose()?, of_w: self.of_w.map(by).transpose()? })
    }

    fn plus(self, other: Gradients) -> Result<Self> {
        let sum = |mut one: Option<Tensor>, other: Option<Tensor>| -> Result<_> {
            add(&mut one, other)?;
            Ok(one)
        };
        let loss = Loss {
            value: self.loss.value.f_add(&other.loss.value)?,
            correct: self.loss.correct.f_add(&other.loss.correct)?,
            carried: None,
        };
        Ok(Gradients { loss, of_alpha: sum(self.of_alpha, other.of_alpha)?, of_w: sum(self.of_w, other.of_w)? })
    }
}
