package crowdstrike

// The columns that Microsoft's tables CrowdStrikeAlertsV2_CL and
// CrowdStrikeDetectionsV2_CL have (facts/falcon.md 3.2). Every one is declared, so that
// no query fails for want of a column; those of which Falcon tells nothing stay empty.

var alertsSchema = newSchema(AlertsTable, "AlertType", []names{
	{text, `
		AgentId AgentLoadFlags AgentLocalTime AgentVersion AggregateId AlertType AllegedFiletype AssignedToName
		AssignedToUid AssignedToUuid BiosManufacturer BiosVersion Categorization Cid Cmdline Comment CompositeId
		ConfigIdBase ConfigIdBuild ConfigIdPlatform ContainerId ContextTimestamp ControlGraphId
		CorrelationRuleExecutionId CorrelationRuleId CorrelationRuleUserId CorrelationRuleUserUuid CrowdStrikeDomain
		Description DetectionId DeviceId DisplayName EndTime EventCorrelationId EventIds ExternalIp FalconHostLink
		Filename Filepath FirstSeen GlobalPrevalence Hostname Id IndicatorId InstanceId IocDescription IocSource
		IocType IocValue LastSeen LeadId LeadType LocalAddressIp4 LocalAddressIp6 LocalIp LocalPrevalence
		LocalProcessId LogonDomain MacAddress MachineDomain MajorVersion Md5 MinorVersion ModifiedTimestamp Name
		Objective OriginCid OsVersion ParentProcessId PatternDispositionDescription Platform PlatformId PlatformName
		PolyId PreventionPolicyId PreventionPolicyName ProcessEndTime ProcessId ProcessStartTime Product ProductType
		ProductTypeDesc Scenario ServiceProvider ServiceProviderAccountId SeverityName Sha1 Sha256 SignalEndTimestamp
		SignalStartTimestamp SignalUpdatedTimestamp SourceEndpointAddressIp4 SourceEndpointAddressIp6 StartTime Status
		SystemManufacturer SystemProductName Tactic TacticId Technique TechniqueId TemplateInstanceId TreeId TreeRoot
		TriggeringProcessGraphId UserId UserName VendorPatternId XdrEventId`},
	{whole, `
		Confidence OriginalCorrelationRulesEntitiesCount OriginalIndicatorEntitiesCount PatternDisposition PatternId
		PriorityValue Score SecondsToResolved SecondsToTriaged Severity TemplateInstanceVersion`},
	{flag, `
		CloudIndicator CorrelationRuleCreateCase EmailSent External HasAdversary HasAgenticProcess
		HasTruncatedEntities IsClosed ShowInUi`},
	{moment, `
		CrawledTimestamp CreatedTimestamp Timestamp UpdatedTimestamp`},
	{free, `
		AdversaryIds AssociatedFiles ChildProcessIds Comments Device DnsRequests EnrichedEntities FilesWritten
		GrandparentDetails HostNames IocContext MitreAttack NetworkAccesses Ou ParentDetails PatternDispositionDetails
		PriorityDetails PriorityExplanation QuarantinedFiles SourceHosts SourceIps Tags ThreatgraphIndicators
		UserNames Users`},
	{list, `
		DataDomains Groups SourceProducts SourceVendors`},
})

var detectionsSchema = newSchema(DetectionsTable, "DetectionType", []names{
	{text, `
		AgentId AgentLoadFlags AgentLocalTime AgentScanId AgentVersion AggregateId AllegedFiletype AssignedToName
		AssignedToUid AssignedToUuid BiosManufacturer BiosVersion Cid Cmdline Comment CompositeId ConfigIdBase
		ConfigIdBuild ConfigIdPlatform ContainerId ContextTimestamp ControlGraphId CrowdStrikeDomain DateUpdated
		Description DetectionId DetectionType DeviceId DisplayName EventCorrelationId ExternalIp FalconHostLink
		Filename Filepath FirstSeen GlobalPrevalence Hostname Id IndicatorId InstanceId IocDescription IocSource
		IocType IocValue LastSeen LeadId LeadType LocalIp LocalPrevalence LocalProcessId LogonDomain MacAddress
		MachineDomain MajorVersion MaxSeverityDisplayName Md5 MinorVersion ModifiedTimestamp Name Objective OriginCid
		OsName OsVersion OverwatchNotes ParentProcessId PatternDispositionDescription Platform PlatformId PlatformName
		PolyId PreventionPolicyId PreventionPolicyName PreviousPrivileges Privileges ProcessEndTime ProcessId
		ProcessStartTime Product ProductType ProductTypeDesc ScanId Scenario ServiceProvider ServiceProviderAccountId
		SeverityName Sha1 Sha256 SignalEndTimestamp SignalStartTimestamp SignalUpdatedTimestamp SourceAccountDomain
		SourceAccountName SourceAccountObjectGuid SourceAccountObjectSid SourceAccountSamAccountName SourceAccountUpn
		SourceEventModel Status SystemManufacturer SystemProductName Tactic TacticId Technique TechniqueId
		TemplateInstanceIdText TemplateInterfaceIdText TemplateInterfaceName TreeId TreeRoot TriggeringProcessGraphId
		UserId UserName UserPrincipal XdrDetectionId`},
	{whole, `
		Confidence MaxConfidence MaxSeverity PatternDisposition PatternId PriorityValue Score SecondsToResolved
		SecondsToTriaged Severity TemplateInstanceId TemplateInstanceVersion TemplateInterfaceId`},
	{flag, `
		CloudIndicator EmailSent External HasAdversary HasAgenticProcess IsClosed Quarantined ShowInUi`},
	{moment, `
		CrawledTimestamp CreatedTimestamp EndTime FirstBehavior LastBehavior Timestamp UpdatedTimestamp`},
	{free, `
		AddedPrivileges AdversaryIds AssociatedFiles Behaviors BehaviorsProcessed ChildProcessIds Comments
		DetectionContext Device DnsRequests Entities EntityValues FilesWritten GrandparentDetails HostInfo HostNames
		Incident IocContext MitreAttack NetworkAccesses Ou ParentDetails PatternDispositionDetails PriorityDetails
		PriorityExplanation QuarantinedFiles References SourceHosts SourceIps TacticIds Tactics TechniqueIds
		Techniques ThreatgraphIndicators UserNames`},
	{list, `
		DataDomains Groups SourceProducts SourceVendors`},
})

// deviceColumns have the names of fields of an alert's device, where the alert has none.
const deviceColumns = `
	AgentLoadFlags AgentLocalTime AgentVersion BiosManufacturer BiosVersion ConfigIdBase ConfigIdBuild
	ConfigIdPlatform DeviceId ExternalIp FirstSeen Groups Hostname InstanceId LastSeen LocalIp MacAddress
	MachineDomain MajorVersion MinorVersion ModifiedTimestamp OsVersion Ou PlatformId PlatformName ProductType
	ProductTypeDesc ServiceProvider ServiceProviderAccountId SystemManufacturer SystemProductName`

// lineFields are the fields of an EppDetectionSummaryEvent that mean what a column does,
// by their column; "" is the one for the type. A stream event's ids of processes are
// Falcon's own, as ProcessId's are, and not those of the host.
var lineFields = map[string]string{
	"CompositeId":                   "CompositeId",
	"AggregateId":                   "AggregateId",
	"AgentId":                       "AgentId",
	"Hostname":                      "Hostname",
	"LogonDomain":                   "LogonDomain",
	"UserName":                      "UserName",
	"Name":                          "Name",
	"Description":                   "Description",
	"Severity":                      "Severity",
	"SeverityName":                  "SeverityName",
	"Tactic":                        "Tactic",
	"Technique":                     "Technique",
	"Objective":                     "Objective",
	"FileName":                      "Filename",
	"FilePath":                      "Filepath",
	"CommandLine":                   "Cmdline",
	"SHA256String":                  "Sha256",
	"SHA1String":                    "Sha1",
	"MD5String":                     "Md5",
	"ProcessId":                     "ProcessId",
	"ParentProcessId":               "ParentProcessId",
	"ProcessStartTime":              "ProcessStartTime",
	"ProcessEndTime":                "ProcessEndTime",
	"LocalIP":                       "LocalIp",
	"MACAddress":                    "MacAddress",
	"HostGroups":                    "Groups",
	"PatternId":                     "PatternId",
	"PatternDispositionValue":       "PatternDisposition",
	"PatternDispositionDescription": "PatternDispositionDescription",
	"IOCType":                       "IocType",
	"IOCValue":                      "IocValue",
	"SourceVendors":                 "SourceVendors",
	"SourceProducts":                "SourceProducts",
	"DataDomains":                   "DataDomains",
	"FalconHostLink":                "FalconHostLink",
	"Type":                          "",
}
