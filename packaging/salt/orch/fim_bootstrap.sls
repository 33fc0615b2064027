{#- salt-run state.orchestrate orch.fim_bootstrap pillar='{"fim_fleet": {"tgt": "web*", "reboot_batch": "10%"}}' #}
{%- set fleet = salt['pillar.get']('fim_fleet', {}) %}
{%- set tgt, tgt_type = fleet.get('tgt', '*'), fleet.get('tgt_type', 'glob') %}
modules there:
  salt.function:
    - name: saltutil.sync_all
    - tgt: {{ tgt | json }}
    - tgt_type: {{ tgt_type }}
{%- if 'saltenv' in fleet %}
    - kwarg: {saltenv: {{ fleet.saltenv | json }}}
{%- endif %}

every host prepared:
  salt.state:
    - tgt: {{ tgt | json }}
    - tgt_type: {{ tgt_type }}
    - sls: [fim_bootstrap]
{%- if 'saltenv' in fleet %}
    - saltenv: {{ fleet.saltenv | json }}
{%- endif %}
    - require:
      - salt: modules there
    - batch: {{ fleet.get('batch', '10%') }}
    # as many may fail before nothing is rebooted
    - allow_fail: {{ fleet.get('allow_fail', 0) }}

hosts with a frozen kernel rebooted:
  salt.runner:
    - name: fim_bootstrap.reboot
    - tgt: {{ tgt | json }}
    - tgt_type: {{ tgt_type }}
    - batch: {{ fleet.get('reboot_batch', 1) }}
    - at_time: {{ fleet.get('at_time', 1) }}
    - timeout: {{ fleet.get('timeout', 900) }}
    - require:
      - salt: every host prepared
