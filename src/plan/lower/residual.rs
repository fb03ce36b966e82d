//! The residual block between two stages, which is not searched (NAS-Bench-201: He et al., 2016, with ReLUs before the
//! convolutions).

use super::operations::Window;
use super::writer::Writer;
use crate::error::Result;
use crate::plan::{Module, Op, Scope, ValueId};

impl Writer<'_> {
    /// (ReLU, 3x3 convolution of stride 2, norm), (ReLU, 3x3 convolution, norm), plus a shortcut of 2x2 average pooling and
    /// a 1x1 convolution. Norms have a weight and a bias; the sum has no ReLU.
    pub fn residual_block(&mut self, block: Module, channels: usize, input: ValueId) -> Result<ValueId> {
        let scope = Scope::whole(block);
        let mut value = input;
        for (name, norm, stride) in [("conv_a", "bn_a", 2), ("conv_b", "bn_b", 1)] {
            value = self.push(&scope, Op::Relu, vec![value])?;
            value = self.conv(&scope, name, value, channels, self.window(3, stride, 1))?;
            value = self.affine_norm(&scope, norm, value)?;
        }
        let Window { kernel, stride, padding, .. } = self.window(2, 2, 0);
        // Past the end: both branches of an odd image have the same size.
        let pool = Op::AvgPool { kernel, stride, padding, outside: 0, ceil: true, convolve: false };
        let shortcut = self.push(&scope, pool, vec![input])?;
        let shortcut = self.conv(&scope, "shortcut", shortcut, channels, self.window(1, 1, 0))?;
        self.push(&scope, Op::Add, vec![value, shortcut])
    }
}
