//! Mixing weights, and the operations that mix values with them: ō(x) = Σ_o m_o · o(x), eq. 2 of the paper, summed over
//! a node's edges.

use tch::{Device, Kind, Tensor};

use super::layout::{rows, unrows};
use crate::error::{Error, Result};
use crate::nn::gradients::{add, leaf};
use crate::nn::precision::in_kind;
use crate::plan::{AlphaId, Op, Plan};

/// The mixing weights of one α table. One `unbind` serves the whole table, so that its backward is one kernel.
pub struct MixingWeights {
    columns: usize,
    /// `[edge · columns + operation]`, scalars.
    weights: Split,
    /// The scales of batch norms, [channels] each.
    scales: Split,
}

impl MixingWeights {
    /// `m`: [edges, operations].
    pub fn new(m: &Tensor, layout: &ScaleLayout) -> Result<Self> {
        let columns = m.size()[1] as usize;
        let table = m.f_flatten(0, -1)?;
        let scales = layout.scales(&table)?;
        let weights = Split { pieces: table.f_unbind(0)?, whole: table };
        Ok(MixingWeights { columns, weights, scales })
    }

    /// The same, detached from their graph. Each is a leaf of other graphs if it was part of one.
    pub fn leaves(&self) -> Result<Self> {
        Ok(MixingWeights { columns: self.columns, weights: self.weights.leaves()?, scales: self.scales.leaves()? })
    }

    /// The weights, then the scales.
    pub fn tensors(&self) -> impl Iterator<Item = &Tensor> {
        self.weights.pieces.iter().chain(&self.scales.pieces)
    }

    /// A scalar whose gradients with respect to the weights and scales, as functions of m, are `gradients`.
    pub fn scalar_with(&self, gradients: &[Option<Tensor>]) -> Result<Option<Tensor>> {
        let (weights, scales) = gradients.split_at(self.weights.pieces.len());
        let mut sum = self.weights.scalar_with(weights)?;
        add(&mut sum, self.scales.scalar_with(scales)?)?;
        Ok(sum)
    }

    /// The index among [`MixingWeights::tensors`] of the weight of a row and a column.
    pub fn index(&self, (row, column): (usize, usize)) -> usize {
        row * self.columns + column
    }

    /// The index among [`MixingWeights::tensors`] of a scale.
    pub fn scale_index(&self, scale: usize) -> usize {
        self.weights.pieces.len() + scale
    }

    fn get(&self, term: (usize, usize)) -> &Tensor {
        &self.weights.pieces[self.index(term)]
    }

    /// A scale of the layout.
    pub fn scale(&self, index: usize) -> &Tensor {
        &self.scales.pieces[index]
    }

    /// A scale of the layout as a matrix of rows and columns.
    pub fn matrix(&self, scale: usize, size: [usize; 2]) -> Result<Tensor> {
        Ok(self.scale(scale).f_view(size.map(|extent| extent as i64))?)
    }

    /// Σ_t weight(term_t) · input_t. The sum is accumulated in place: one pass over memory per term, whereas a product
    /// and an addition take two.
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

/// Several mixtures of the values that are stacked in `x`, stacked too; `weights`: [mixtures, values].
pub fn mixtures(x: &Tensor, weights: &Tensor) -> Result<Tensor> {
    let size = weights.size();
    let mixed = in_kind(weights, x.f_kind()?)?.f_matmul(&rows(x, size[1])?)?;
    unrows(&mixed, x, size[1])
}

/// The α table and cells of an operation that takes all its mixing weights as one vector, its scale. [`Op::Mix`] takes
/// them one by one.
pub fn scaled(op: &Op) -> Option<(AlphaId, Vec<(usize, usize)>)> {
    op.mixing().filter(|_| !matches!(op, Op::Mix { .. }))
}

/// Which mixing weights of one α table are scales, and how many channels each has: those of batch norms are repeated
/// over their channels, those of products have one channel each.
#[derive(Debug)]
pub struct ScaleLayout {
    /// 0/1 of [scales, edges · operations]: which weight a scale is. The backward of a product with it adds in a fixed
    /// order, whereas that of gathering does not on a GPU.
    selection: Tensor,
    /// Runs of scales with the same number of channels: (scales, channels).
    runs: Vec<(i64, i64)>,
    /// The length of each scale, in the plan's order.
    lengths: Vec<i64>,
}

impl ScaleLayout {
    /// The scales of `plan` from the table `alpha`.
    pub fn new(plan: &Plan, alpha: AlphaId, kind: Kind, device: Device) -> Result<Self> {
        let (mut cells, mut runs, mut lengths) = (Vec::new(), Vec::<(i64, i64)>::new(), Vec::new());
        let table = plan.mixing_table(alpha).ok_or_else(|| Error::engine("a table of mixing weights is missing"))?;
        let columns = table.columns;
        for instruction in &plan.instructions {
            let Some((_, terms)) = scaled(&instruction.op).filter(|(table, _)| *table == alpha) else { continue };
            let channels = match instruction.op {
                Op::BatchNorm { .. } => (instruction.shape.channels() / terms.len()) as i64,
                _ => 1,
            };
            lengths.push(channels * terms.len() as i64);
            cells.extend(terms.iter().map(|(row, column)| (row * columns + column) as i64));
            match runs.last_mut().filter(|run| run.1 == channels) {
                Some(run) => run.0 += terms.len() as i64,
                None => runs.push((terms.len() as i64, channels)),
            }
        }
        let all = (table.rows.len() * columns) as i64;
        let selection = Tensor::f_from_slice(&cells)?.f_one_hot(all)?.f_to_device(device)?.f_to_kind(kind)?;
        Ok(ScaleLayout { selection, runs, lengths })
    }

    /// All scales from the mixing weights, flat.
    fn scales(&self, table: &Tensor) -> Result<Split> {
        if self.lengths.is_empty() {
            return Ok(Split { whole: table.f_narrow(0, 0, 0)?, pieces: Vec::new() });
        }
        // A GPU could round a matrix product to TensorFloat-32.
        let selected = self.selection.f_mul(table)?.f_sum_dim_intlist([1i64].as_slice(), false, None)?;
        let (mut runs, mut start) = (Vec::with_capacity(self.runs.len()), 0);
        for &(count, channels) in &self.runs {
            let run = selected.f_narrow(0, start, count)?.f_unsqueeze(1)?;
            runs.push(run.f_expand([count, channels], false)?.f_reshape([-1])?);
            start += count;
        }
        let whole = Tensor::f_cat(&runs, 0)?;
        Ok(Split { pieces: whole.f_split_with_sizes(self.lengths.as_slice(), 0)?, whole })
    }
}

/// A vector and the consecutive pieces that make it up.
struct Split {
    whole: Tensor,
    pieces: Vec<Tensor>,
}

impl Split {
    /// The same, detached from their graph. Each piece is a leaf of other graphs if it was part of one.
    fn leaves(&self) -> Result<Self> {
        let detached = |piece: &Tensor| if piece.requires_grad() { leaf(piece) } else { Ok(piece.shallow_clone()) };
        Ok(Split { whole: self.whole.f_detach()?, pieces: self.pieces.iter().map(detached).collect::<Result<_>>()? })
    }

    /// A scalar whose gradients with respect to the pieces are `gradients`; None if there are no gradients.
    fn scalar_with(&self, gradients: &[Option<Tensor>]) -> Result<Option<Tensor>> {
        if gradients.iter().all(Option::is_none) {
            return Ok(None);
        }
        let zero = self.whole.f_detach()?.f_zeros_like()?;
        let (mut flat, mut start) = (Vec::with_capacity(gradients.len()), 0);
        for (piece, gradient) in self.pieces.iter().zip(gradients) {
            let length = piece.numel() as i64;
            flat.push(match gradient {
                Some(gradient) => gradient.f_reshape([-1])?,
                None => zero.f_narrow(0, start, length)?,
            });
            start += length;
        }
        Ok(Some(self.whole.f_mul(&Tensor::f_cat(&flat, 0)?)?.f_sum(None)?))
    }
}
