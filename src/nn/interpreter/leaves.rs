//! The leaves of a backward pass: weights and mixing weights, shared by all graphs that use them. Their gradients are
//! assembled here: one concatenation for the weights, one backward pass for the table of mixing weights, however many
//! graphs there were.

use tch::Tensor;

use super::executable::Executable;
use super::mixing::MixingWeights;
use super::thinned::Thinned;
use crate::error::Result;
use crate::nn::gradients::{By, add, gradient, leaf};
use crate::params::Table;

/// The leaves of a backward pass.
pub struct Leaves {
    /// The weight views of the executable.
    pub weights: Vec<Tensor>,
    /// The mixing weights of each table.
    pub mixing: Vec<MixingWeights>,
    by: By,
    w: Tensor,
    m: Tensor,
    /// The same as `mixing`, as functions of m.
    mixing_of_m: Vec<MixingWeights>,
}

impl Leaves {
    /// The leaves at flat w and m, whose slices are `tables`. Those that `by` names require gradients.
    pub fn new(executable: &Executable, w: &Tensor, m: &Tensor, tables: &Table, by: By) -> Result<Self> {
        let w = w.f_detach()?;
        Leaves::with(executable, executable.weights.of(&w)?, w, (m, tables), by)
    }

    /// The same for a pass that leaves out operations: weights that it does not use are undefined.
    pub fn thinned(
        executable: &Executable,
        (w, m): (&Tensor, &Tensor),
        tables: &Table,
        by: By,
        thinned: &Thinned,
    ) -> Result<Self> {
        let w = w.f_detach()?;
        let weights = executable.weights.some(&w, &executable.used(thinned))?;
        Leaves::with(executable, weights, w, (m, tables), by)
    }

    fn with(
        executable: &Executable,
        mut weights: Vec<Tensor>,
        w: Tensor,
        (m, tables): (&Tensor, &Table),
        by: By,
    ) -> Result<Self> {
        if by.weights() {
            let learn = |weight: Tensor| match weight.defined() {
                true => Ok(weight.f_set_requires_grad(true)?),
                false => Ok(weight),
            };
            weights = weights.into_iter().map(learn).collect::<Result<_>>()?;
        }
        let m = if by.alpha() { leaf(m)? } else { m.f_detach()? };
        let mixing_of_m = executable.mixing(tables.views(&m)?)?;
        let mixing = mixing_of_m.iter().map(MixingWeights::leaves).collect::<Result<_>>()?;
        Ok(Leaves { weights, mixing, by, w, m, mixing_of_m })
    }

    /// All leaves, in the order of [`Executable::leaves`].
    pub fn list(&self) -> Vec<&Tensor> {
        self.weights.iter().chain(self.mixing.iter().flat_map(MixingWeights::tensors)).collect()
    }

    /// The requested flat gradients with respect to m and w, from the gradients with respect to the leaves.
    pub fn flatten(
        &self,
        executable: &Executable,
        mut gradients: Vec<Option<Tensor>>,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let mixing = gradients.split_off(self.weights.len());
        let m = self.by.alpha().then(|| self.m_gradient(mixing)).transpose()?;
        let w = self.by.weights().then(|| executable.weights.flatten(gradients, &self.w)).transpose()?;
        Ok((m, w))
    }

    fn m_gradient(&self, gradients: Vec<Option<Tensor>>) -> Result<Tensor> {
        let (mut gradients, mut scalar) = (gradients.into_iter(), None);
        for table in &self.mixing_of_m {
            let of_table: Vec<_> = gradients.by_ref().take(table.tensors().count()).collect();
            add(&mut scalar, table.scalar_with(&of_table)?)?;
        }
        match scalar {
            Some(scalar) => gradient(&scalar, &self.m),
            None => Ok(self.m.f_zeros_like()?),
        }
    }
}
