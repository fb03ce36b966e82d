//! Values that are split into blocks of channels or of the batch.

use std::cell::RefCell;
use std::collections::HashMap;

use tch::{Device, Tensor};

use super::layout::channels_second;
use crate::error::{Error, Result};
use crate::plan::ValueId;

/// The blocks of each split value until they are taken. A value is split once: the backward of one split is one
/// concatenation, whereas the backward of each slice would fill a whole value with zeros.
#[derive(Default)]
pub struct Blocks(RefCell<HashMap<ValueId, Vec<Option<Tensor>>>>);

impl Blocks {
    /// Block `index` of those that `split` returns. Each block can be taken once.
    pub fn take(
        &self,
        id: ValueId,
        value: &Tensor,
        index: usize,
        split: impl FnOnce(&Tensor) -> Result<Vec<Tensor>>,
    ) -> Result<Tensor> {
        let mut known = self.0.borrow_mut();
        let mut blocks = match known.remove(&id) {
            Some(blocks) => blocks,
            None => split(value)?.into_iter().map(Some).collect(),
        };
        let block = blocks.get_mut(index).and_then(Option::take);
        if blocks.iter().any(Option::is_some) {
            known.insert(id, blocks);
        }
        block.ok_or_else(|| Error::engine(format!("block {index} of value {} was taken before", id.0)))
    }
}

/// The first `at` channels of a value, copied so that operations need not read every pixel's other channels, or the
/// others, a view.
pub fn cut(id: ValueId, value: &Tensor, (at, rest): (i64, bool), blocks: &Blocks) -> Result<Tensor> {
    let sizes = [at, value.size()[1] - at];
    let block = blocks.take(id, value, usize::from(rest), |x| Ok(x.f_split_with_sizes(sizes, 1)?))?;
    if rest {
        return Ok(block);
    }
    match value.device() {
        Device::Cpu => channels_second(&block.f_permute([0, 2, 3, 1])?.f_contiguous()?),
        _ => Ok(block.f_contiguous()?),
    }
}
