//! What a new policy of a key changes, and in which direction: narrowing counts at once, anything else needs a second admin.

use hanzo_policy::{Difference, Direction, diff};

use super::KeyPolicy;
use super::check::reference_names;

impl KeyPolicy {
    /// Every member that differs from `earlier`, in the order of the document.
    pub fn changes_from(&self, earlier: &Self) -> Vec<Difference> {
        let mut found: Vec<Difference> = diff(&earlier.appraisal, &self.appraisal)
            .into_iter()
            .map(|d| Difference {
                path: format!("appraisal.{}", d.path),
                ..d
            })
            .collect();
        let mut push = |path: &str, from: String, to: String, direction| {
            if from != to {
                let path = path.to_owned();
                found.push(Difference {
                    path,
                    from,
                    to,
                    direction,
                });
            }
        };
        let numbers = [
            (
                "grant_lifetime_s",
                earlier.grant_lifetime_s,
                self.grant_lifetime_s,
                true,
            ),
            ("max_uses", earlier.max_uses, self.max_uses, true),
            (
                "minimum_image_version",
                earlier.minimum_image_version,
                self.minimum_image_version,
                false,
            ),
            ("not_after", earlier.not_after, self.not_after, true),
            ("not_before", earlier.not_before, self.not_before, false),
        ];
        for (path, from, to, more_is_wider) in numbers {
            let direction = match (to > from) == more_is_wider {
                true => Direction::Wider,
                false => Direction::Narrower,
            };
            push(path, from.to_string(), to.to_string(), direction);
        }
        let simulated = match self.allow_simulated {
            true => Direction::Wider,
            false => Direction::Narrower,
        };
        push(
            "allow_simulated",
            earlier.allow_simulated.to_string(),
            self.allow_simulated.to_string(),
            simulated,
        );
        let names = earlier.image_versions.keys().chain(self.image_versions.keys());
        for name in names.collect::<std::collections::BTreeSet<_>>() {
            let of = |policy: &Self| {
                policy
                    .image_versions
                    .get(name)
                    .map_or("none".to_owned(), u64::to_string)
            };
            // A version that was 5 and is now 7 lets an image pass a floor of 6: what it is called decides.
            let direction = match (earlier.image_versions.get(name), self.image_versions.get(name)) {
                (Some(from), Some(to)) if to < from => Direction::Narrower,
                // An entry goes with its reference. One that goes alone leaves an image that raises no floor any more.
                (Some(_), None) if !reference_names(&self.appraisal).contains(name.as_str()) => Direction::Narrower,
                (Some(_), None) => Direction::Changed,
                _ => Direction::Wider,
            };
            push(&format!("image_versions.{name}"), of(earlier), of(self), direction);
        }
        let module = |policy: &Self| match &policy.rego {
            None => "null".to_owned(),
            Some(text) => format!("module {}", hanzo_attestation::Digest384::of(text.as_bytes())),
        };
        let direction = match (&earlier.rego, &self.rego) {
            (None, Some(_)) => Direction::Narrower,
            (Some(_), None) => Direction::Wider,
            _ => Direction::Changed,
        };
        push("rego", module(earlier), module(self), direction);
        push(
            "subject",
            earlier.subject.to_string(),
            self.subject.to_string(),
            Direction::Changed,
        );
        push(
            "tenant",
            earlier.tenant.to_string(),
            self.tenant.to_string(),
            Direction::Changed,
        );
        for gone in earlier.wrap.iter().filter(|w| !self.wrap.contains(w)) {
            push(
                "wrap",
                gone.as_str().to_owned(),
                "absent".to_owned(),
                Direction::Narrower,
            );
        }
        for new in self.wrap.iter().filter(|w| !earlier.wrap.contains(w)) {
            push("wrap", "absent".to_owned(), new.as_str().to_owned(), Direction::Wider);
        }
        found
    }

    /// True if every change from `earlier` admits less: nothing that was refused before is released now.
    pub fn only_narrows(&self, earlier: &Self) -> bool {
        self.changes_from(earlier)
            .iter()
            .all(|d| d.direction == Direction::Narrower)
    }
}
