package falcontest

import (
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"strings"
	"time"
)

// vocabulary is the fields filters and sorts may name: all of a real device
// object, most of which simulated devices never carry. The real API refuses
// other names in host filters too.
var vocabulary = func() map[string]bool {
	m := map[string]bool{}
	for _, name := range strings.Fields(`
		agent_load_flags agent_local_time agent_version base_image_version bios_manufacturer bios_version
		build_number chassis_type chassis_type_desc cid cloud_service_compartment_id config_id_base
		config_id_build config_id_platform connection_ip connection_mac_address cpu_signature cpu_vendor
		criticality default_gateway_ip deployment_type detection_suppression_status device_id device_policies
		email external_ip filesystem_containment_status first_login_timestamp first_seen group_hash groups
		host_hidden_status host_utc_offset hostname instance_id internet_exposure k8s_cluster_git_version
		k8s_cluster_id k8s_cluster_version kernel_version last_login_timestamp last_login_uid last_login_user
		last_login_user_sid last_reboot last_seen linux_sensor_mode local_ip mac_address machine_domain
		major_version managed_apps meta migration_completed_time minor_version modified_timestamp notes
		os_build os_product_name os_version ou platform_id platform_name pod_annotations pod_host_ip4
		pod_host_ip6 pod_hostname pod_id pod_ip4 pod_ip6 pod_labels pod_name pod_namespace
		pod_service_account_name pointer_size policies product_type product_type_desc provision_status
		reduced_functionality_mode release_group rtr_state safe_mode serial_number service_pack_major
		service_pack_minor service_provider service_provider_account_id site_name
		slow_changing_modified_timestamp status system_manufacturer system_product_name tags zone_group`) {
		m[name] = true
	}
	return m
}()

// knownField judges a dotted path by its first part; only some have others.
func knownField(path string) bool {
	head, _, dotted := strings.Cut(path, ".")
	switch head {
	case "device_policies", "managed_apps", "meta", "policies":
		return true
	}
	return vocabulary[head] && !dotted
}

var (
	platformID  = map[string]string{"Windows": "0", "Mac": "1", "Linux": "3"}
	productType = map[string]string{"Workstation": "1", "Domain Controller": "2", "Server": "3"}
)

// details is a device as the API shows it, members in the recorded order.
func details(d *device, now time.Time) object {
	o := make(object, 0, 48)
	add := func(key, value string) {
		if value != "" {
			o = append(o, member{key, value})
		}
	}
	add("device_id", d.DeviceID)
	add("cid", d.CID)
	add("agent_version", d.AgentVersion)
	add("external_ip", d.ExternalIP)
	add("mac_address", d.MACAddress)
	add("hostname", d.Hostname)
	add("machine_domain", d.MachineDomain)
	add("instance_id", d.InstanceID)
	add("service_provider", d.ServiceProvider)
	add("service_provider_account_id", d.ServiceProviderAccountID)
	add("first_seen", stamp(d.FirstSeen))
	add("last_seen", stamp(d.lastSeen(now)))
	add("local_ip", d.LocalIP)
	add("os_version", d.OSVersion)
	add("platform_id", platformID[d.Platform])
	add("platform_name", d.Platform)
	prevention := d.policy("prevention", member{"settings_hash", "ec4c535b"}, member{"rule_groups", []string{}})
	o = append(o, member{"policies", []object{prevention}})
	add("reduced_functionality_mode", yesNo(d.ReducedFunctionality))
	o = append(o, member{"device_policies", object{
		{"prevention", prevention},
		{"sensor_update", d.policy("sensor-update", member{"settings_hash", "tagged|1;101"}, member{"uninstall_protection", "ENABLED"})},
		{"remote_response", d.policy("remote-response", member{"settings_hash", "17550b92"})},
		{"content-update", d.policy("content-update")},
	}})
	o = append(o, member{"groups", list(d.Groups)})
	add("group_hash", groupHash(d.Groups))
	add("product_type", productType[d.ProductType])
	add("product_type_desc", d.ProductType)
	add("provision_status", "Provisioned")
	add("serial_number", d.SerialNumber)
	add("status", d.Status)
	add("filesystem_containment_status", normal)
	if d.Hidden {
		add("host_hidden_status", "hidden")
	}
	o = append(o, member{"tags", list(d.Tags)})
	add("modified_timestamp", stamp(d.modified))
	o = append(o, member{"meta", object{{"version", strconv.Itoa(d.version)}}})
	add("connection_ip", d.LocalIP)
	add("connection_mac_address", d.MACAddress)
	return o
}

// policy is an assigned and applied policy. Of the kinds that the cloud does not
// have, hosts of one platform share it.
func (d *device) policy(kind string, more ...member) object {
	id := hexDigits(kind + " " + d.Platform)
	if s := d.assigned[kind]; s != nil {
		id = s.idOf(&d.Host)
	}
	return append(object{
		{"policy_type", kind},
		{"policy_id", id},
		{"applied", true},
		{"assigned_date", d.FirstSeen.UTC().Format(time.RFC3339Nano)},
		{"applied_date", d.FirstSeen.UTC().Format(time.RFC3339Nano)},
	}, more...)
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05Z") }

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// list is s, but never null in JSON.
func list(s []string) []string {
	if s == nil {
		return []string{}
	}
	return s
}

// groupHash of a host without groups is the SHA-256 of nothing, as recorded.
func groupHash(groups []string) string {
	sum := sha256.Sum256([]byte(strings.Join(groups, "")))
	return hex.EncodeToString(sum[:])
}

// onlineWindow is how long after its last sign a sensor counts as online. The
// real figure is not known.
const onlineWindow = 15 * time.Minute

// presence is a device as the online-state operation shows it.
func presence(d *device, now time.Time) object {
	seen, state := d.lastSeen(now), d.OnlineState
	if state == "" {
		state = "online"
		if now.Sub(seen) >= onlineWindow {
			state = "offline"
		}
	}
	return object{{"id", d.DeviceID}, {"cid", d.CID}, {"last_seen", stamp(seen)}, {"state", state}}
}
