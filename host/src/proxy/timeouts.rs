//! How long a member may take: as the pool says, unless the vip, or within its bounds the policy, says otherwise.

use std::time::Duration;

use crate::policy::answer::RouteTimeouts;
use crate::spec::PoolSpec;
use crate::spec::vip::VipTimeouts;

/// The times that one exchange with a member may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// To reach a member.
    pub connect: Duration,
    /// Until its answer begins.
    pub response: Duration,
    /// For which it may fall silent in mid-answer.
    pub between_bytes: Duration,
    /// For the whole of it; `None` is no limit.
    pub whole: Option<Duration>,
}

impl Timeouts {
    /// Those of a pool.
    pub fn of_pool(spec: &PoolSpec) -> Self {
        Self {
            connect: spec.connect_timeout,
            response: spec.response_timeout,
            between_bytes: spec.between_bytes_timeout,
            whole: spec.whole_timeout,
        }
    }

    /// Those that hold for a request of a vip, which a policy may have wanted to be others.
    pub fn for_request(self, vip: &VipTimeouts, route: Option<&RouteTimeouts>) -> Self {
        let wanted = route.copied().unwrap_or_default();
        let within = |wanted: Option<Duration>| wanted.map(|wanted| wanted.min(vip.policy_max));
        Self {
            connect: vip.connect.unwrap_or(self.connect),
            response: within(wanted.response).or(vip.response).unwrap_or(self.response),
            between_bytes: within(wanted.between_bytes).or(vip.between_bytes).unwrap_or(self.between_bytes),
            whole: within(wanted.whole).or(vip.whole).or(self.whole),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_policy_goes_before_the_vip_and_the_vip_before_the_pool_but_not_out_of_bounds() {
        let pool = Timeouts::of_pool(&PoolSpec { response_timeout: seconds(9), ..PoolSpec::default() });
        let mut vip = VipTimeouts { policy_max: seconds(20), ..VipTimeouts::default() };
        assert_eq!(pool.for_request(&vip, None), pool);
        vip.response = Some(seconds(5));
        assert_eq!(pool.for_request(&vip, None), Timeouts { response: seconds(5), ..pool });
        let route = RouteTimeouts { response: Some(seconds(7)), whole: Some(seconds(60)), between_bytes: None };
        let expected = Timeouts { response: seconds(7), whole: Some(seconds(20)), ..pool };
        assert_eq!(pool.for_request(&vip, Some(&route)), expected);
    }
}
