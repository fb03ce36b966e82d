//! Mixing weights as vectors: the scales of batch norms, and the matrices of products.

use tch::{Device, Kind, Tensor};

use crate::error::Result;
use crate::nn::gradients::leaf;
use crate::plan::{AlphaId, Op, Plan};

/// What an operation mixes with, where it takes all its weights as one vector: a mixture takes each by itself.
pub fn scaled(op: &Op) -> Option<(AlphaId, Vec<(usize, usize)>)> {
    op.mixing().filter(|_| !matches!(op, Op::Mix { .. }))
}

/// Which mixing weights of one α table scale batch norms, and how many channels each; those of a product are a scale
/// of one channel each.
#[derive(Debug)]
pub struct ScaleLayout {
    /// 0/1 of [scales, edges · operations]: which weight a scale is. A product with it has a backward pass that adds
    /// in a fixed order, where gathering would not on a GPU.
    selection: Tensor,
    /// Runs of scales with the same number of channels: (scales, channels).
    runs: Vec<(i64, i64)>,
    /// Channels of each batch norm, in the plan's order.
    lengths: Vec<i64>,
}

impl ScaleLayout {
    /// Of the batch norms of `plan` that are scaled by `alpha`, and of its products.
    pub fn new(plan: &Plan, alpha: AlphaId, kind: Kind, device: Device) -> Result<Self> {
        let (mut cells, mut runs, mut lengths) = (Vec::new(), Vec::<(i64, i64)>::new(), Vec::new());
        let columns = plan.alphas[alpha.0].operations;
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
        let all = (plan.alphas[alpha.0].edges * columns) as i64;
        let selection = Tensor::f_from_slice(&cells)?.f_one_hot(all)?.f_to_device(device)?.f_to_kind(kind)?;
        Ok(ScaleLayout { selection, runs, lengths })
    }

    /// Every scale, repeated over its channels: softmax(α), flat, as one vector a batch norm.
    pub fn scales(&self, table: &Tensor) -> Result<Parted> {
        if self.lengths.is_empty() {
            return Ok(Parted { whole: table.f_narrow(0, 0, 0)?, parts: Vec::new() });
        }
        // Not a matrix product, which a GPU might round.
        let selected = self.selection.f_mul(table)?.f_sum_dim_intlist([1i64].as_slice(), false, None)?;
        let (mut runs, mut start) = (Vec::with_capacity(self.runs.len()), 0);
        for &(count, channels) in &self.runs {
            let run = selected.f_narrow(0, start, count)?.f_unsqueeze(1)?;
            runs.push(run.f_expand([count, channels], false)?.f_reshape([-1])?);
            start += count;
        }
        let whole = Tensor::f_cat(&runs, 0)?;
        Ok(Parted { parts: whole.f_split_with_sizes(self.lengths.as_slice(), 0)?, whole })
    }
}

/// A vector and the parts that make it up.
pub struct Parted {
    pub whole: Tensor,
    pub parts: Vec<Tensor>,
}

impl Parted {
    /// The same outside their graph, each part a leaf of others if it is in one.
    pub fn leaves(&self) -> Result<Self> {
        let apart = |part: &Tensor| if part.requires_grad() { leaf(part) } else { Ok(part.shallow_clone()) };
        Ok(Parted { whole: self.whole.f_detach()?, parts: self.parts.iter().map(apart).collect::<Result<_>>()? })
    }

    /// A scalar whose gradients by the parts are these; none of them, no scalar.
    pub fn along(&self, found: &[Option<Tensor>]) -> Result<Option<Tensor>> {
        if found.iter().all(Option::is_none) {
            return Ok(None);
        }
        let zero = self.whole.f_detach()?.f_zeros_like()?;
        let (mut gradients, mut start) = (Vec::with_capacity(found.len()), 0);
        for (part, found) in self.parts.iter().zip(found) {
            let length = part.numel() as i64;
            gradients.push(match found {
                Some(found) => found.f_reshape([-1])?,
                None => zero.f_narrow(0, start, length)?,
            });
            start += length;
        }
        Ok(Some(self.whole.f_mul(&Tensor::f_cat(&gradients, 0)?)?.f_sum(None)?))
    }
}
