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
    /// The lengths of the views in the order of the vector, which they cover.
    lengths: Vec<i64>,
    /// The place of each view in that order; None if views are in order.
    places: Option<Vec<usize>>,
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
        let mut order: Vec<usize> = (0..views.len()).collect();
        order.sort_by_key(|view| views[*view].offset);
        let mut places = vec![0; views.len()];
        for (place, view) in order.iter().enumerate() {
            places[*view] = place;
        }
        let lengths: Vec<i64> = order.iter().map(|view| views[*view].length).collect();
        if lengths.iter().sum::<i64>() != table.total() {
            return Err(Error::engine("the weights of this plan are not those of the vector"));
        }
        let places = (!order.is_sorted()).then_some(places);
        Ok(WeightViews { index, views, lengths, places })
    }

    /// The number of views.
    pub fn count(&self) -> usize {
        self.views.len()
    }

    /// All views of `flat`: one node of the autograd graph, whose backward is a single concatenation.
    pub fn of(&self, flat: &Tensor) -> Result<Vec<Tensor>> {
        let pieces = flat.f_split_with_sizes(self.lengths.as_slice(), 0)?;
        let piece = |index: usize| &pieces[self.places.as_ref().map_or(index, |places| places[index])];
        self.views.iter().enumerate().map(|(index, view)| Ok(piece(index).f_view(view.shape.as_slice())?)).collect()
    }

    /// The views of `flat` for which `used` is true; the others are undefined.
    pub fn some(&self, flat: &Tensor, used: &[bool]) -> Result<Vec<Tensor>> {
        let view = |view: &View| Ok(flat.f_narrow(0, view.offset, view.length)?.f_view(view.shape.as_slice())?);
        let one = |(own, used): (&View, &bool)| if *used { view(own) } else { Ok(Tensor::new()) };
        self.views.iter().zip(used).map(one).collect()
    }

    /// The flat vector of one tensor per view; zeros in place of None.
    pub fn flatten(&self, pieces: Vec<Option<Tensor>>, like: &Tensor) -> Result<Tensor> {
        let longest = pieces.iter().zip(&self.views).filter(|(piece, _)| piece.is_none()).map(|(_, view)| view.length);
        let zeros = like.f_new_zeros([longest.max().unwrap_or(0)], (like.kind(), like.device()))?;
        let piece = |(piece, view): (Option<Tensor>, &View)| match piece {
            Some(piece) => Ok(piece.f_reshape([-1])?),
            None => Ok(zeros.f_narrow(0, 0, view.length)?),
        };
        let mut flat = pieces.into_iter().zip(&self.views).map(piece).collect::<Result<Vec<_>>>()?;
        if let Some(places) = &self.places {
            let mut placed: Vec<_> = places.iter().zip(flat).collect();
            placed.sort_by_key(|(place, _)| **place);
            flat = placed.into_iter().map(|(_, piece)| piece).collect();
        }
        Ok(Tensor::f_cat(&flat, 0)?)
    }
}
