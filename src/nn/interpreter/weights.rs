//! The weights of a plan as views of the flat vector; the weights of a group are one view.

use tch::Tensor;

use crate::error::{Error, Result};
use crate::params::Table;
use crate::plan::{Op, Plan};

/// Where the weights that a plan's instructions use are in the flat vector.
pub struct WeightViews {
    /// For each weight of the plan the index of the view that contains it.
    pub index: Vec<usize>,
    views: Vec<View>,
    /// The lengths of the views, if they cover the whole vector in order.
    lengths: Option<Vec<i64>>,
}

struct View {
    offset: i64,
    length: i64,
    shape: Vec<i64>,
}

impl WeightViews {
    /// The views of the weights of `plan` in the vector that `table` describes.
    pub fn new(plan: &Plan, table: &Table) -> Result<Self> {
        let mut members = vec![1; plan.weights.len()];
        let mut kernels = vec![None; plan.weights.len()];
        for instruction in &plan.instructions {
            if let Op::Conv { weight, members: count, .. } = &instruction.op {
                members[weight.0] = *count;
                kernels[weight.0] = plan.weights[weight.0].kernel().map(Vec::from);
            }
        }
        let (mut index, mut views) = (Vec::with_capacity(plan.weights.len()), Vec::new());
        while index.len() < plan.weights.len() {
            let first = index.len();
            let group = &plan.weights[first..first + members[first]];
            let (offset, length) = table.run(group.iter().map(|weight| weight.name.as_str()))?;
            let shape = kernels[first].as_ref().unwrap_or(&group[0].shape);
            let mut shape: Vec<i64> = shape.iter().map(|&extent| extent as i64).collect();
            shape[0] *= group.len() as i64;
            index.extend(std::iter::repeat_n(views.len(), group.len()));
            views.push(View { offset, length, shape });
        }
        let ends = views.iter().map(|view| view.offset + view.length);
        let begins = views.iter().skip(1).map(|view| view.offset).chain([table.total()]);
        let in_order = ends.eq(begins) && views.first().is_none_or(|view| view.offset == 0);
        let lengths = in_order.then(|| views.iter().map(|view| view.length).collect());
        Ok(WeightViews { index, views, lengths })
    }

    /// The number of views.
    pub fn count(&self) -> usize {
        self.views.len()
    }

    /// All views of `flat`. If they are in order, they are one node of the autograd graph, whose backward is a single
    /// concatenation.
    pub fn of(&self, flat: &Tensor) -> Result<Vec<Tensor>> {
        let shaped = |(piece, view): (Tensor, &View)| Ok(piece.f_view(view.shape.as_slice())?);
        match &self.lengths {
            Some(lengths) => {
                flat.f_split_with_sizes(lengths.as_slice(), 0)?.into_iter().zip(&self.views).map(shaped).collect()
            }
            None => {
                let narrow = |view: &View| flat.f_narrow(0, view.offset, view.length);
                self.views.iter().map(|view| shaped((narrow(view)?, view))).collect()
            }
        }
    }

    /// The flat vector of one tensor per view.
    pub fn flatten(&self, pieces: &[Tensor]) -> Result<Tensor> {
        if self.lengths.is_none() {
            return Err(Error::engine("the weights of this plan are not in the order of the vector"));
        }
        let flat = pieces.iter().map(|piece| Ok(piece.f_reshape([-1])?)).collect::<Result<Vec<_>>>()?;
        Ok(Tensor::f_cat(&flat, 0)?)
    }
}
