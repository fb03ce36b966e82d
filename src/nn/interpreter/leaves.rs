//! The leaves of a backward pass: weights and mixing weights, shared by all graphs that use them. Their gradients are
//! assembled here: one concatenation for the weights, one pass through the softmax for the mixing weights, however many
//! graphs there were.

use tch::Tensor;

use super::executable::Executable;
use super::mixing::MixingWeights;
use crate::error::Result;
use crate::nn::gradients::{By, add, gradient, leaf};
use crate::params::Table;

/// The leaves of a backward pass.
pub struct Leaves {
    /// The weight views of the executable.
    pub weights: Vec<Tensor>,
    /// The mixing weights of each α table.
    pub mixing: Vec<MixingWeights>,
    by: By,
    alpha: Tensor,
    /// The same as `mixing`, as functions of α.
    mixing_of_alpha: Vec<MixingWeights>,
}

impl Leaves {
    /// The leaves at flat w and α. Those that `by` names require gradients.
    pub fn new(executable: &Executable, w: &Tensor, alpha: &Tensor, alphas: &Table, by: By) -> Result<Self> {
        let mut weights = executable.weights.of(&w.f_detach()?)?;
        if by.weights() {
            weights = weights.into_iter().map(|weight| Ok(weight.f_set_requires_grad(true)?)).collect::<Result<_>>()?;
        }
        let alpha = if by.alpha() { leaf(alpha)? } else { alpha.f_detach()? };
        let mixing_of_alpha = executable.mixing(alphas.views(&alpha)?)?;
        let mixing = mixing_of_alpha.iter().map(MixingWeights::leaves).collect::<Result<_>>()?;
        Ok(Leaves { weights, mixing, by, alpha, mixing_of_alpha })
    }

    /// All leaves, in the order of [`Executable::leaves`].
    pub fn list(&self) -> Vec<&Tensor> {
        self.weights.iter().chain(self.mixing.iter().flat_map(MixingWeights::tensors)).collect()
    }

    /// The requested flat gradients with respect to α and w, from the gradients with respect to the leaves.
    pub fn flatten(
        &self,
        executable: &Executable,
        mut gradients: Vec<Option<Tensor>>,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let mixing = gradients.split_off(self.weights.len());
        let alpha = self.by.alpha().then(|| self.alpha_gradient(mixing)).transpose()?;
        let or_zero = |(gradient, weight): (Option<Tensor>, &Tensor)| match gradient {
            Some(gradient) => Ok(gradient),
            None => Ok(weight.f_zeros_like()?),
        };
        let weights = || gradients.into_iter().zip(&self.weights).map(or_zero).collect::<Result<Vec<_>>>();
        let w = self.by.weights().then(|| executable.weights.flatten(&weights()?)).transpose()?;
        Ok((alpha, w))
    }

    fn alpha_gradient(&self, gradients: Vec<Option<Tensor>>) -> Result<Tensor> {
        let (mut gradients, mut scalar) = (gradients.into_iter(), None);
        for table in &self.mixing_of_alpha {
            let of_table: Vec<_> = gradients.by_ref().take(table.tensors().count()).collect();
            add(&mut scalar, table.scalar_with(&of_table)?)?;
        }
        match scalar {
            Some(scalar) => gradient(&scalar, &self.alpha),
            None => Ok(self.alpha.f_zeros_like()?),
        }
    }
}
