//! What a backward pass is over: kernels and mixing weights, each of them a leaf of every graph that uses it. What
//! autograd would do to put their gradients together is a concatenation for the kernels, and one pass through the
//! softmax for the mixing weights, however many graphs there were.

use tch::Tensor;

use super::executable::Schedule;
use super::mixing::MixingWeights;
use crate::error::Result;
use crate::nn::gradients::{By, add, gradient, leaf};
use crate::params::Table;

/// The leaves of a backward pass.
pub struct Parameters {
    /// The kernels of the schedule.
    pub kernels: Vec<Tensor>,
    /// Those of the logits, a table each.
    pub mixing: Vec<MixingWeights>,
    by: By,
    alpha: Tensor,
    /// The same as `mixing`, in the graph that makes them of the logits.
    of_logits: Vec<MixingWeights>,
}

impl Parameters {
    /// Of `schedule`, at flat w and α, of which those that `by` names ask for gradients.
    pub fn new(schedule: &Schedule, w: &Tensor, alpha: &Tensor, alphas: &Table, by: By) -> Result<Self> {
        let mut kernels = schedule.kernels.views(&w.f_detach()?)?;
        if by.weights() {
            kernels = kernels.into_iter().map(|kernel| Ok(kernel.f_set_requires_grad(true)?)).collect::<Result<_>>()?;
        }
        let alpha = if by.alpha() { leaf(alpha)? } else { alpha.f_detach()? };
        let of_logits = schedule.mixing(alphas.views(&alpha)?)?;
        let mixing = of_logits.iter().map(MixingWeights::leaves).collect::<Result<_>>()?;
        Ok(Parameters { kernels, mixing, by, alpha, of_logits })
    }

    /// All of them, in the order of [`Schedule::parameters`].
    pub fn list(&self) -> Vec<&Tensor> {
        self.kernels.iter().chain(self.mixing.iter().flat_map(MixingWeights::tensors)).collect()
    }

    /// The gradients by α and by w, flat, those that are asked for, from the gradients by the leaves.
    pub fn flat(
        &self,
        schedule: &Schedule,
        mut found: Vec<Option<Tensor>>,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let of_mixing = found.split_off(self.kernels.len());
        let of_alpha = self.by.alpha().then(|| self.of_alpha(of_mixing)).transpose()?;
        let of_kernel = |(found, kernel): (Option<Tensor>, &Tensor)| match found {
            Some(found) => Ok(found),
            None => Ok(kernel.f_zeros_like()?),
        };
        let of_kernels = || found.into_iter().zip(&self.kernels).map(of_kernel).collect::<Result<Vec<_>>>();
        let of_w = self.by.weights().then(|| schedule.kernels.flat(&of_kernels()?)).transpose()?;
        Ok((of_alpha, of_w))
    }

    fn of_alpha(&self, found: Vec<Option<Tensor>>) -> Result<Tensor> {
        let (mut found, mut along) = (found.into_iter(), None);
        for table in &self.of_logits {
            let of_table: Vec<_> = found.by_ref().take(table.tensors().count()).collect();
            add(&mut along, table.along(&of_table)?)?;
        }
        match along {
            Some(along) => gradient(&along, &self.alpha),
            None => Ok(self.alpha.f_zeros_like()?),
        }
    }
}
