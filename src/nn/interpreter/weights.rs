//! The weights of a plan as views of the flat vector; those of a group are one view.

use tch::Tensor;

use crate::error::{Error, Result};
use crate::params::Table;
use crate::plan::{Op, Plan};

/// Where the weights that a plan's instructions use lie in the vector.
pub struct Kernels {
    /// For each weight of the plan the view it is in.
    pub place: Vec<usize>,
    views: Vec<View>,
    /// Lengths of the views, where they make up the whole vector in order.
    lengths: Option<Vec<i64>>,
}

struct View {
    offset: i64,
    length: i64,
    shape: Vec<i64>,
}

impl Kernels {
    /// The views of `plan`, whose weights lie in the vector as `table` says.
    pub fn new(plan: &Plan, table: &Table) -> Result<Self> {
        let mut members = vec![1; plan.weights.len()];
        for instruction in &plan.instructions {
            if let Op::Conv { weight, members: together, .. } = &instruction.op {
                members[weight.0] = *together;
            }
        }
        let (mut place, mut views) = (Vec::with_capacity(plan.weights.len()), Vec::new());
        while place.len() < plan.weights.len() {
            let first = place.len();
            let group = &plan.weights[first..first + members[first]];
            let (offset, length) = table.run(group.iter().map(|weight| weight.name.as_str()))?;
            let mut shape: Vec<i64> = group[0].shape.iter().map(|&extent| extent as i64).collect();
            shape[0] *= group.len() as i64;
            place.extend(std::iter::repeat_n(views.len(), group.len()));
            views.push(View { offset, length, shape });
        }
        let ends = views.iter().map(|view| view.offset + view.length);
        let begins = views.iter().skip(1).map(|view| view.offset).chain([table.total()]);
        let in_order = ends.eq(begins) && views.first().is_none_or(|view| view.offset == 0);
        let lengths = in_order.then(|| views.iter().map(|view| view.length).collect());
        Ok(Kernels { place, views, lengths })
    }

    /// How many views there are.
    pub fn count(&self) -> usize {
        self.views.len()
    }

    /// Every view. In order, they are one node of the autograd graph, whose backward is a single concatenation.
    pub fn views(&self, flat: &Tensor) -> Result<Vec<Tensor>> {
        let shaped = |(part, view): (Tensor, &View)| Ok(part.f_view(view.shape.as_slice())?);
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

    /// The flat vector of which `parts` are the views, one each.
    pub fn flat(&self, parts: &[Tensor]) -> Result<Tensor> {
        if self.lengths.is_none() {
            return Err(Error::engine("the weights of this plan do not lie in its order"));
        }
        let flat = parts.iter().map(|part| Ok(part.f_reshape([-1])?)).collect::<Result<Vec<_>>>()?;
        Ok(Tensor::f_cat(&flat, 0)?)
    }
}
