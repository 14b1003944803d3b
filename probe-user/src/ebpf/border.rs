//! How the contract's types reach aya: it may copy exactly what bytemuck proves to be plain data.

/// A contract type in the form that aya accepts.
#[derive(Clone, Copy, Debug)]
#[repr(transparent)]
pub struct Plain<T>(pub T);

// SAFETY: `Plain` has the layout of `T`, and every `bytemuck::Pod` type is plain data without padding.
unsafe impl<T: bytemuck::Pod> aya::Pod for Plain<T> {}
