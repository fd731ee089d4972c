//! Which resources can be added up, and which can be taken apart.

use crate::v1::Resource;
use crate::v1::resource::disk_info::source::Type as SourceType;

/// What is left of a resource without its quantity.
pub(super) fn kind(resource: &Resource) -> Resource {
    let mut kind = Resource { scalar: None, ranges: None, set: None, ..resource.clone() };
    // A resource that is not reserved may say so with the role `*`, or not.
    if kind.role.as_deref() == Some(super::UNRESERVED) {
        kind.role = None;
    }
    kind
}

/// Whether a resource is handed out as a whole only: a persistent volume, or a disk with a file system of its own.
pub(super) fn is_whole(resource: &Resource) -> bool {
    let Some(disk) = &resource.disk else { return false };
    let source = disk.source.as_ref().and_then(|source| SourceType::try_from(source.r#type).ok());
    disk.persistence.is_some() || matches!(source, Some(SourceType::Mount | SourceType::Block))
}

/// Whether several may hold the same thing at once.
pub(super) fn is_shared(resource: &Resource) -> bool {
    resource.shared.is_some()
}
