// Tables and a data collection rule for Falcon's alerts and events, as Jurymast writes
// them. All is in azuredeploy.json, so that both ways to deploy give the same.

@description('The Log Analytics workspace, in this resource group.')
param workspaceName string

@description('The workspace\'s region: the rule must be there too.')
param location string = resourceGroup().location

@description('Name of the data collection rule.')
param ruleName string = 'jurymast-falcon'

@description('Object id of the service principal (not of the app registration) that writes. Empty: assign Monitoring Metrics Publisher on the rule yourself.')
param principalId string = ''

@description('How long the tables keep rows.')
param totalRetentionInDays int = 90

@description('Make the functions CrowdStrikeAlerts and CrowdStrikeDetections. Set it to false where Microsoft\'s connector fills tables of these names.')
param functions bool = true

@description('The function CrowdStrikeDetections reads the table that SentinelRowsWithDetections fills, and not the endpoint alerts.')
param detectionsTable bool = false

module falcon 'azuredeploy.json' = {
  name: 'jurymast-falcon'
  params: {
    workspaceName: workspaceName
    location: location
    ruleName: ruleName
    principalId: principalId
    totalRetentionInDays: totalRetentionInDays
    functions: functions
    detectionsTable: detectionsTable
  }
}

output endpoint string = falcon.outputs.endpoint
output immutableId string = falcon.outputs.immutableId
