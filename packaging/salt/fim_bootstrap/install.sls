{%- from 'fim_bootstrap/map.jinja' import fim with context %}
{%- if fim.sha256 %}
fim-bootstrap-binary:
  file.managed:
    - name: {{ fim.binary }}
    - source: {{ fim.source | json }}
    - source_hash: sha256={{ fim.sha256 }}
    - user: root
    - group: root
    - mode: '0755'
    - makedirs: true
    # source_hash counts for http(s) alone; this refuses a wrong file from the master before it is in place
    - check_cmd: sh -c 'echo "{{ fim.sha256 }}  $0" | sha256sum -c --quiet -'

# nothing is copied where the master's file is there already, so nothing would be compared
fim-bootstrap-pinned:
  cmd.run:
    - name: echo "{{ fim.binary }} is not the file that the pillar's sha256 names"; exit 1
    - unless: test ! -e {{ fim.binary }} || echo "{{ fim.sha256 }}  {{ fim.binary }}" | sha256sum -c --status -
    - require:
      - file: fim-bootstrap-binary
{%- else %}
fim-bootstrap-pinned:
  test.fail_without_changes:
    - name: give the pillar fim_bootstrap:sha256, the checksum of the binary
{%- endif %}
{%- if fim.options %}

fim-bootstrap-options:
  file.managed:
    - name: /etc/fim-bootstrap/config.toml
    - user: root
    - group: root
    - mode: '0600'
    - makedirs: true
    - contents:
    {%- for key, value in fim.options | dictsort %}
      - {{ (key ~ ' = ' ~ value | json) | json }}
    {%- endfor %}
{%- endif %}
