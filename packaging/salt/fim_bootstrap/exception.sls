{#- The record of the exception for audit rules that stay mutable: docs/exception.md. #}
{%- from 'fim_bootstrap/map.jinja' import fim with context %}
{%- set exception = fim.exception %}
include:
  - fim_bootstrap.install

{%- if exception.expires %}

fim-bootstrap-exception-folder:
  file.directory:
    - name: {{ exception.folder }}
    - user: root
    - group: root
    - mode: '0700'
    - makedirs: true

fim-bootstrap-exception:
  fim_bootstrap.excepted:
    - name: {{ exception.folder }}
    - binary: {{ fim.binary }}
    - source: {{ fim.source | json }}
    - sha256: {{ fim.sha256 | string | json }}
    {%- for key in ('expires', 'owner', 'approver', 'ticket') %}
    - {{ key }}: {{ exception[key] | string | json }}
    {%- endfor %}
    - require:
      - sls: fim_bootstrap.install
      - file: fim-bootstrap-exception-folder
{%- else %}

fim-bootstrap-exception:
  test.fail_without_changes:
    - name: give the pillar fim_bootstrap:exception:expires, the date on which the exception ends
{%- endif %}
