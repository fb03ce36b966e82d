//! The mixed operation, plainly: ō(x) = Σ_o softmax(α)_o · o(x), eq. 2 of the paper, summed over a node's edges. The
//! oracle for every rewriting pass.

use tch::{Kind, Tensor};

use super::layout::{rows, unrows};
use super::scales::ScaleLayout;
use crate::error::Result;

/// Mixing weights of one α table. One softmax and one `unbind` for the whole table, so that their backward is one
/// kernel each.
pub struct MixingWeights {
    columns: usize,
    /// `weights[edge · columns + operation]`, scalars.
    weights: Vec<Tensor>,
    /// The scales of batch norms, [channels] each.
    scales: Vec<Tensor>,
}

impl MixingWeights {
    /// `alpha`: [edges, operations].
    pub fn new(alpha: &Tensor, layout: &ScaleLayout) -> Result<Self> {
        let columns = alpha.size()[1] as usize;
        let table = alpha.f_softmax(-1, None)?.f_flatten(0, -1)?;
        let scales = layout.scales(&table)?;
        Ok(MixingWeights { columns, weights: table.f_unbind(0)?, scales })
    }

    fn get(&self, (row, column): (usize, usize)) -> &Tensor {
        &self.weights[row * self.columns + column]
    }

    /// The scale of the `index`th batch norm of the layout.
    pub fn scale(&self, index: usize) -> &Tensor {
        &self.scales[index]
    }

    /// Σ_t weight(term_t) · input_t. The sum grows in place: one pass over memory a term, where a product and
    /// an addition would take two.
    pub fn mix(&self, inputs: &[&Tensor], terms: &[(usize, usize)]) -> Result<Option<Tensor>> {
        let mut pairs = inputs.iter().zip(terms);
        let Some((first, &term)) = pairs.next() else { return Ok(None) };
        let kind = first.f_kind()?;
        let mut sum = first.f_mul(&in_kind(self.get(term), kind)?)?;
        for (input, &term) in pairs {
            sum = sum.f_addcmul_(input, &in_kind(self.get(term), kind)?)?;
        }
        Ok(Some(sum))
    }
}

/// The tensor in another element type; one that has it already is not touched, for the call alone takes microseconds.
pub fn in_kind(tensor: &Tensor, kind: Kind) -> Result<Tensor> {
    if tensor.f_kind()? == kind { Ok(tensor.shallow_clone()) } else { Ok(tensor.f_to_kind(kind)?) }
}

/// Several mixtures of values that are stacked in `x`, stacked in turn; `weights`: [mixtures, values].
pub fn mixtures(x: &Tensor, weights: &Tensor) -> Result<Tensor> {
    let size = weights.size();
    let mixed = in_kind(weights, x.f_kind()?)?.f_matmul(&rows(x, size[1])?)?;
    unrows(&mixed, x, size[1])
}
