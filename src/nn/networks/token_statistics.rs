//! Batch norms of a recurrent network in the weight step: each token is normalised by its own batch statistics, and the
//! running statistics move once per pass, by the mean over the tokens.

use std::cell::RefCell;
use std::collections::BTreeMap;

use tch::Tensor;

use crate::error::Result;
use crate::nn::buffers::{EPSILON, MOMENTUM};
use crate::nn::interpreter::executable::{Executable, Interpreter, Prepared, broken_plan};
use crate::nn::interpreter::execute::Forward;
use crate::plan::{Instruction, Op};

/// A mean and a variance.
type Moments = (Tensor, Tensor);

/// A forward pass that collects batch statistics.
pub struct TokenPass<'a> {
    pub forward: Forward<'a>,
    /// The statistics of every batch norm at every token, by instruction; None if the running ones do not move.
    seen: Option<RefCell<BTreeMap<usize, Vec<Moments>>>>,
}

impl<'a> TokenPass<'a> {
    /// `moves`: whether the running statistics move.
    pub fn new(forward: Forward<'a>, moves: bool) -> Self {
        TokenPass { forward, seen: moves.then(RefCell::default) }
    }

    /// Moves the running statistics by the mean over the tokens.
    pub fn update_running(&self, executable: &Executable) -> Result<()> {
        let _guard = tch::no_grad_guard();
        for (index, moments) in self.seen.as_ref().map(RefCell::take).unwrap_or_default() {
            let Some(running) = &executable.prepared[index].running else { continue };
            let (means, variances): (Vec<Tensor>, Vec<Tensor>) = moments.into_iter().unzip();
            for (running, over_time) in [(&running.raw.0, means), (&running.raw.1, variances)] {
                let mean = Tensor::f_stack(&over_time, 0)?.f_mean_dim([0i64].as_slice(), false, None)?;
                let moved = running.f_lerp(&mean, MOMENTUM)?;
                running.f_data()?.f_copy_(&moved)?;
            }
        }
        Ok(())
    }
}

impl Interpreter for TokenPass<'_> {
    type Value = Tensor;

    fn value(&self, instruction: &Instruction, prepared: &Prepared, inputs: &[&Tensor]) -> Result<Tensor> {
        let (Op::BatchNorm { .. }, Some(seen)) = (&instruction.op, &self.seen) else {
            return self.forward.value(instruction, prepared, inputs);
        };
        let x = inputs.first().copied().ok_or_else(|| broken_plan(instruction))?;
        let (value, moments) = normalised(x, self.forward.unit_scale(x)?)?;
        seen.borrow_mut().entry(prepared.index).or_default().push(moments);
        Ok(value)
    }
}

/// `x` normalised by its own mean and variance and scaled; the mean and the unbiased variance.
fn normalised(x: &Tensor, scale: Option<Tensor>) -> Result<(Tensor, Moments)> {
    let none = None::<&Tensor>;
    let (value, mean, r) = x.f_native_batch_norm(scale.as_ref(), none, none, none, true, 0.0, EPSILON)?;
    let _guard = tch::no_grad_guard();
    let count = x.size()[0] as f64;
    let biased = r.f_detach()?.f_pow_tensor_scalar(-2.0)?.f_sub_scalar(EPSILON)?;
    Ok((value, (mean.f_detach()?, biased.f_mul_scalar(count / (count - 1.0))?)))
}
