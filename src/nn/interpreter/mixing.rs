//! The mixed operation, plainly: ō(x) = Σ_o softmax(α)_o · o(x), eq. 2 of the paper, summed over a node's edges. The
//! oracle for every rewriting pass.

use tch::{Kind, Tensor};

use super::layout::{rows, unrows};
use super::scales::{Parted, ScaleLayout};
use crate::error::Result;
use crate::nn::gradients::add;

/// Mixing weights of one α table. One softmax and one `unbind` for the whole table, so that their backward is one
/// kernel each.
pub struct MixingWeights {
    columns: usize,
    /// `[edge · columns + operation]`, scalars.
    weights: Parted,
    /// The scales of batch norms, [channels] each.
    scales: Parted,
}

impl MixingWeights {
    /// `alpha`: [edges, operations].
    pub fn new(alpha: &Tensor, layout: &ScaleLayout) -> Result<Self> {
        let columns = alpha.size()[1] as usize;
        let table = alpha.f_softmax(-1, None)?.f_flatten(0, -1)?;
        let scales = layout.scales(&table)?;
        let weights = Parted { parts: table.f_unbind(0)?, whole: table };
        Ok(MixingWeights { columns, weights, scales })
    }

    /// The same outside their graph, each a leaf of others if they are in one.
    pub fn leaves(&self) -> Result<Self> {
        Ok(MixingWeights { columns: self.columns, weights: self.weights.leaves()?, scales: self.scales.leaves()? })
    }

    /// The weights, then the scales.
    pub fn tensors(&self) -> impl Iterator<Item = &Tensor> {
        self.weights.parts.iter().chain(&self.scales.parts)
    }

    /// A scalar whose gradients by the weights and by the scales are these, where both are functions of α.
    pub fn along(&self, found: &[Option<Tensor>]) -> Result<Option<Tensor>> {
        let (of_weights, of_scales) = found.split_at(self.weights.parts.len());
        let mut sum = self.weights.along(of_weights)?;
        add(&mut sum, self.scales.along(of_scales)?)?;
        Ok(sum)
    }

    /// The place among all of them of the weight of a row and a column.
    pub fn place(&self, (row, column): (usize, usize)) -> usize {
        row * self.columns + column
    }

    /// The place among all of them of the `index`th scale.
    pub fn place_of_scale(&self, index: usize) -> usize {
        self.weights.parts.len() + index
    }

    fn get(&self, term: (usize, usize)) -> &Tensor {
        &self.weights.parts[self.place(term)]
    }

    /// The scale of the `index`th batch norm of the layout.
    pub fn scale(&self, index: usize) -> &Tensor {
        &self.scales.parts[index]
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
