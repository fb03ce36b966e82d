//! Values that are split into equal blocks.

use std::cell::RefCell;
use std::collections::HashMap;

use tch::Tensor;

use crate::error::{Error, Result};
use crate::plan::ValueId;

/// The blocks of each split value until they are taken. A value is split once: the backward of one split is one
/// concatenation, whereas the backward of each slice would fill a whole value with zeros.
#[derive(Default)]
pub struct Blocks(RefCell<HashMap<ValueId, Vec<Option<Tensor>>>>);

impl Blocks {
    /// Block `index` of `count` along a dimension. Each block can be taken once.
    pub fn take(&self, id: ValueId, value: &Tensor, dim: i64, (index, count): (usize, usize)) -> Result<Tensor> {
        let mut split = self.0.borrow_mut();
        let mut blocks = match split.remove(&id) {
            Some(blocks) => blocks,
            None => value.f_chunk(count as i64, dim)?.into_iter().map(Some).collect(),
        };
        let block = blocks.get_mut(index).and_then(Option::take);
        if blocks.iter().any(Option::is_some) {
            split.insert(id, blocks);
        }
        block.ok_or_else(|| Error::engine(format!("block {index} of value {} was taken before", id.0)))
    }
}
