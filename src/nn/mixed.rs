//! The mixed operation, plainly: ō(x) = Σ_o softmax(α)_o · o(x), eq. 2 of the paper, summed over a node's edges.
//! The oracle for every rewriting pass.

use tch::Tensor;

use crate::error::Result;

/// Mixing weights of one α table as scalars: `weights[edge][operation]`. One softmax and one `unbind` for the
/// whole table, so that their backward is one kernel each.
pub struct MixingWeights {
    columns: usize,
    weights: Vec<Tensor>,
}

impl MixingWeights {
    /// `alpha`: [edges, operations].
    pub fn new(alpha: &Tensor) -> Result<Self> {
        let columns = alpha.size()[1] as usize;
        let weights = alpha.f_softmax(-1, None)?.f_flatten(0, -1)?.f_unbind(0)?;
        Ok(MixingWeights { columns, weights })
    }

    fn get(&self, (row, column): (usize, usize)) -> &Tensor {
        &self.weights[row * self.columns + column]
    }

    /// Σ_t weight(term_t) · input_t. The sum grows in place: one pass over memory a term, where a product and
    /// an addition would take two.
    pub fn mix(&self, inputs: &[&Tensor], terms: &[(usize, usize)]) -> Result<Option<Tensor>> {
        let mut pairs = inputs.iter().zip(terms);
        let Some((first, &term)) = pairs.next() else { return Ok(None) };
        let kind = first.f_kind()?;
        let mut sum = first.f_mul(&self.get(term).f_to_kind(kind)?)?;
        for (input, &term) in pairs {
            sum = sum.f_addcmul_(input, &self.get(term).f_to_kind(kind)?)?;
        }
        Ok(Some(sum))
    }
}
