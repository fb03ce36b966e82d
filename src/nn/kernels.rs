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
            let names = plan.weights[first..first + members[first]].iter().map(|weight| &weight.name);
            let entries = names.map(|name| table.index(name).map(|index| &table.entries()[index]));
            let entries = entries.collect::<Option<Vec<_>>>().ok_or_else(|| Error::engine("a weight has no place"))?;
            let mut shape = entries[0].shape.clone();
            if let Some(out) = shape.first_mut() {
                *out *= entries.len() as i64;
            }
            let length = entries.iter().map(|entry| entry.length).sum();
            if entries.windows(2).any(|pair| pair[0].offset + pair[0].length != pair[1].offset) {
                return Err(Error::engine(format!("the group of {} is scattered", entries[0].name)));
            }
            place.extend(std::iter::repeat_n(views.len(), entries.len()));
            views.push(View { offset: entries[0].offset, length, shape });
        }
        let ends = views.iter().map(|view| view.offset + view.length);
        let begins = views.iter().skip(1).map(|view| view.offset).chain([table.total()]);
        let in_order = ends.eq(begins) && views.first().is_none_or(|view| view.offset == 0);
        let lengths = in_order.then(|| views.iter().map(|view| view.length).collect());
        Ok(Kernels { place, views, lengths })
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
}
